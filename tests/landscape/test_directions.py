import math

import pytest
import torch

from geomlab import params
from geomlab.curvature.hessian import Hessian
from geomlab.landscape import directions
from geomlab.rng import generator
from tests import models

WEIGHTS = models.subject(models.convolution()).weights


@pytest.mark.parametrize("normalisation", ["filter", "layer"])
def test_matrices_get_the_norms_of_the_weights_and_vectors_stay(normalisation: str) -> None:
    direction = directions.gaussian(WEIGHTS, generator(0, "d"), normalisation)
    assert list(direction) == list(WEIGHTS)
    for name, tensor in direction.items():
        if tensor.ndim < 2:
            assert not tensor.any()
        elif normalisation == "layer":
            torch.testing.assert_close(tensor.norm(), WEIGHTS[name].norm())
        else:
            torch.testing.assert_close(tensor.flatten(1).norm(dim=1), WEIGHTS[name].flatten(1).norm(dim=1))
    again = directions.gaussian(WEIGHTS, generator(0, "d"), normalisation)
    assert params.digest(again) == params.digest(direction)


def test_without_normalisation_all_entries_move_alike() -> None:
    direction = params.flatten(directions.gaussian(WEIGHTS, generator(0, "d"), "none"))
    assert float(direction.norm()) == pytest.approx(directions.norm(WEIGHTS))
    assert bool((direction != 0).all())
    scaled = direction / direction.std()
    assert float(scaled.mean().abs()) < 4 / math.sqrt(len(scaled))
    assert float((scaled**4).mean()) == pytest.approx(3, abs=1.5)  # Gaussian, not U[0, 1] as elsewhere


def test_the_noise_is_the_same_by_every_normalisation() -> None:
    one, other = (directions.gaussian(WEIGHTS, generator(0, "d"), kind) for kind in ("layer", "none"))
    for name, tensor in one.items():
        if tensor.ndim > 1:
            cosine = torch.nn.functional.cosine_similarity(tensor.flatten(), other[name].flatten(), dim=0)
            assert float(cosine) == pytest.approx(1)


@pytest.mark.parametrize("rank", [None, 1, 2])
def test_adversarial_step_is_rho_of_each_matrix_up_its_gradient(rank: int | None) -> None:
    subject, batches = models.subject(models.Attention()), models.batches()
    names = list(subject.weights)
    step = directions.adversarial(subject, batches, names, rho=0.05, rank=rank)
    slope = params.unflatten(
        Hessian(subject, batches, names).gradient, {n: subject.weights[n] for n in names}
    )
    for name, tensor in step.items():
        if tensor.ndim < 2:
            assert not tensor.any()
            continue
        assert float(tensor.norm()) == pytest.approx(0.05 * float(subject.weights[name].norm()))
        cosine = torch.nn.functional.cosine_similarity(tensor.flatten(), slope[name].flatten(), dim=0)
        values = torch.linalg.svdvals(slope[name].flatten(1))
        kept = values[:rank].norm() / values.norm()  # of all matrices of that rank, the best
        assert float(cosine) == pytest.approx(float(kept))
        assert rank is None or int(torch.linalg.matrix_rank(tensor.flatten(1))) <= rank


def adapted(rank: int, scale: float = 1e-3) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Weights in float32 after an update of low rank, each of q, k and v with its own, and before it."""
    base, random = models.subject(models.Attention()).weights, generator(0, "update")
    moved = {}
    for name, weight in base.items():
        update = torch.zeros_like(weight)
        if weight.ndim > 1:
            blocks = update.flatten(1).chunk(params.stacked(name, weight))
            rows, columns = blocks[0].shape
            made = [
                torch.randn(rows, rank, generator=random) @ torch.randn(rank, columns, generator=random)
                for _ in blocks
            ]
            update = torch.cat(made).view_as(weight)
        moved[name] = (weight + scale * update).float()
    return moved, {name: weight.float() for name, weight in base.items()}


@pytest.mark.parametrize("rank", [1, 2])
def test_the_lora_direction_is_tangent_to_updates_of_the_rank_that_is_there(rank: int) -> None:
    moved, base = adapted(rank)
    found = directions.low_rank(moved, base, generator(0, "d"))
    assert found.rank == rank
    three = sum(params.stacked(name, weight) for name, weight in moved.items() if weight.ndim > 1)
    assert found.matrices == three > sum(weight.ndim > 1 for weight in moved.values())
    assert (
        min(min(weight.shape) for weight in moved.values() if weight.ndim > 1) == 2
    )  # all of which it may fill
    for name, weight in moved.items():
        direction = found.direction[name]
        if weight.ndim < 2:
            assert not direction.any()
            continue
        torch.testing.assert_close(direction.norm(), weight.norm())
        blocks = params.stacked(name, weight)
        parts = [x.flatten(1).double().chunk(blocks) for x in (weight - base[name], direction)]
        for update, step in zip(*parts, strict=True):
            u, _, v = torch.linalg.svd(update)
            outside = u[:, rank:].T @ step @ v[rank:].T  # what no dB·A + B·dA has
            assert float(outside.norm()) < 1e-3 * float(step.norm())
            inside = [float((u[:, :rank].T @ step).norm()), float((step @ v[:rank].T).norm())]
            assert min(inside) > 0.1 * float(step.norm())


def test_an_update_of_full_rank_is_no_loras_and_may_be_cut() -> None:
    moved, base = adapted(1)
    name = max(moved, key=lambda name: min(moved[name].shape) * (moved[name].ndim > 1))
    moved[name] = moved[name] + 0.1 * torch.randn(moved[name].shape, generator=generator(0, "full"))
    with pytest.raises(ValueError, match=f"update of {name} has full rank, so no LoRA made it; give rank="):
        directions.low_rank(moved, base, generator(0, "d"))
    assert directions.low_rank(moved, base, generator(0, "d"), rank=2).rank == 2
    with pytest.raises(ValueError, match="no matrix differs from the reference's"):
        directions.low_rank(base, base, generator(0, "d"))


def test_orthogonalised_directions_keep_their_length() -> None:
    three = [directions.gaussian(WEIGHTS, generator(0, i)) for i in range(2)]
    three.append(directions.plus(directions.scaled(three[0], 3.0), three[1], 1e-3))  # nearly along the first
    made = directions.orthogonalised(three[:2] + three[2:])
    assert directions.norm(made[2]) == 0  # in the span of the first two
    pair = directions.orthogonalised([three[0], three[2]])
    assert directions.norm(pair[1]) == pytest.approx(directions.norm(three[2]))
    cosine = directions.inner(*pair) / directions.norm(pair[0]) / directions.norm(pair[1])
    assert abs(cosine) < 1e-12
    zero = directions.scaled(three[0], 0.0)
    assert directions.norm(directions.orthogonalised([zero, three[1]])[1]) == pytest.approx(
        directions.norm(three[1])
    )
