import numpy as np
import pytest
import torch

from geomlab.linalg.sketch import sketch
from geomlab.rng import generator
from geomlab.stats import principal_cosines


def orthonormal(dim: int, k: int, seed: int) -> torch.Tensor:
    q, _ = torch.linalg.qr(torch.randn(dim, k, generator=generator(seed, "q"), dtype=torch.float64))
    return q


def test_inner_products_are_kept_to_their_stated_error() -> None:
    dim, length = 70_000, 2_000
    q = orthonormal(dim, 8, 0)
    mixed = q.clone()
    mixed[:, :4] = 0.6 * q[:, :4] + 0.8 * q[:, 4:]
    error = sketch(q, length).T @ sketch(mixed, length) - q.T @ mixed
    assert float(error.square().mean().sqrt()) < 1.5 / length**0.5
    assert float(error.abs().max()) < 5 / length**0.5


def test_short_vectors_stay_as_they_are_and_the_same_ones_give_the_same() -> None:
    q = orthonormal(300, 3, 1)
    assert sketch(q) is q
    assert torch.equal(sketch(q, 100), sketch(q.clone(), 100))
    assert sketch(q.float(), 100).dtype == torch.float32


def test_sketches_have_the_principal_angles_of_their_spaces() -> None:
    q = orthonormal(50_000, 8, 2)
    angles = torch.tensor([0.0, 0.3, 0.9, torch.pi / 2], dtype=torch.float64)
    turned = q[:, :4] * angles.cos() + q[:, 4:] * angles.sin()
    mixed = turned @ orthonormal(4, 4, 3)  # another basis of the same space
    exact = principal_cosines(q[:, :4].numpy(), mixed.numpy())
    assert exact == pytest.approx(np.cos(angles.numpy()), abs=1e-12)
    assert principal_cosines(sketch(q[:, :4]).numpy(), sketch(mixed).numpy()) == pytest.approx(
        exact, abs=0.03
    )


def test_principal_cosines_of_spaces_of_unlike_dimension() -> None:
    one = np.eye(5)
    assert principal_cosines(one[:, :3], one[:, 1:3] * 7).tolist() == [1, 1]
    assert principal_cosines(one[:, :2], one[:, 2:]).tolist() == [0, 0]
