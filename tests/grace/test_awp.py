from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from geomlab.rng import generator
from grace import awp
from grace.awp import Branch

ROWS, COLUMNS, RANK = 5, 7, 2


def weights() -> dict[str, Tensor]:
    rng = generator(0, "test")
    return {
        "linear": torch.randn(ROWS, COLUMNS, generator=rng, dtype=torch.float64),
        "kernel": torch.randn(4, 3, 2, 2, generator=rng, dtype=torch.float64),
        "spared": torch.randn(3, 3, generator=rng, dtype=torch.float64),
    }


RANKS = {"linear": RANK, "kernel": 1, "spared": 0}


def linear_loss(
    base: dict[str, Tensor], directions: dict[str, Tensor]
) -> Callable[[dict[str, Branch]], Tensor]:
    """Σ ⟨G, W + B A⟩, whose gradient in W is G everywhere."""

    def loss(low_rank: dict[str, Branch]) -> Tensor:
        at = base | awp.perturbed(base, low_rank)
        return torch.stack([(directions[name] * at[name]).sum() for name in base]).sum()

    return loss


def test_branches_begin_at_nothing_and_spare_layers_of_rank_zero() -> None:
    base = weights()
    low_rank = awp.branches(base, RANKS, rho=0.1, rng=generator(1, "test"))
    assert list(low_rank) == ["linear", "kernel"]
    assert tuple(low_rank["kernel"].a.shape) == (1, 12)
    for name, tensor in awp.perturbed(base, low_rank).items():
        assert torch.equal(tensor, base[name])
        assert low_rank[name].radius == pytest.approx(0.1 * base[name].norm().item(), rel=1e-12)


def test_one_step_is_the_steepest_ascent_within_the_row_space_of_a() -> None:
    base = weights()
    directions = {
        name: torch.randn(w.shape, generator=generator(2, name), dtype=w.dtype) for name, w in base.items()
    }
    loss = linear_loss(base, directions)
    start = awp.branches(base, RANKS, rho=0.1, rng=generator(1, "test"))
    moved = awp.climb(start, loss(start), step=1.0, keep_graph=False)
    for name, branch in moved.items():
        g, a = directions[name].flatten(1), start[name].a.detach()
        expected = g @ a.T @ a
        expected *= branch.radius / expected.norm()
        torch.testing.assert_close(branch.update, expected, rtol=1e-10, atol=1e-12)
        assert torch.linalg.matrix_rank(branch.update) == RANKS[name]
    assert loss(moved) > loss(start)


@pytest.mark.parametrize("step", [0.3, 1.0, 7.0])
def test_the_perturbation_stays_within_rho_and_climbs(step: float) -> None:
    base = weights()
    target = {
        name: torch.randn(w.shape, generator=generator(3, name), dtype=w.dtype) for name, w in base.items()
    }

    def loss(low_rank: dict[str, Branch]) -> Tensor:
        at = base | awp.perturbed(base, low_rank)
        return torch.stack(
            [(at[name] * target[name]).sum().tanh() + at[name].square().sum() for name in base]
        ).sum()

    low_rank = awp.branches(base, RANKS, rho=0.05, rng=generator(1, "test"))
    reached = [loss(low_rank).item()]
    for _ in range(4):
        low_rank = awp.climb(low_rank, loss(low_rank), step=step, keep_graph=False)
        reached.append(loss(low_rank).item())
        for name, branch in low_rank.items():
            assert branch.update.norm() <= 0.05 * base[name].norm() * (1 + 1e-12)
    assert reached[1] > reached[0]
    assert reached[-1] >= reached[1]


def test_no_gradient_is_no_step_and_no_nan() -> None:
    base = weights()
    low_rank = awp.branches(base, RANKS, rho=0.05, rng=generator(1, "test"))
    flat = torch.stack([0.0 * branch.update.sum() for branch in low_rank.values()]).sum()
    for branch in awp.climb(low_rank, flat, step=1.0, keep_graph=False).values():
        assert torch.equal(branch.update, torch.zeros_like(branch.update))
