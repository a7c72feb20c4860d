import pytest
import torch

from geomlab.linalg.operator import Dense, Operator
from geomlab.linalg.random import signs, uniform
from geomlab.rng import generator


class Long(Operator):
    """Of a dimension that a dense matrix has no room for."""

    def __init__(self, dim: int, dtype: torch.dtype) -> None:
        self.dim, self.dtype, self.device = dim, dtype, torch.device("cpu")

    def matvec(self, vector: torch.Tensor) -> torch.Tensor:
        return vector


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_signs_are_fair_and_independent(dtype: torch.dtype) -> None:
    n = 200_003
    one, other = (signs(Long(n, dtype), generator(seed, "s")) for seed in (0, 1))
    assert one.dtype == dtype
    assert one.shape == (n,)
    assert set(one.unique().tolist()) == {-1.0, 1.0}
    for lag in range(1, 70):  # bits of a byte, and of a word
        assert abs(float((one[lag:] * one[:-lag]).mean())) < 4.5 / n**0.5
    assert abs(float(one.mean())) < 4 / n**0.5
    assert abs(float((one * other).mean())) < 4 / n**0.5


def test_uniform_numbers_have_their_moments_and_are_never_zero() -> None:
    n = 100_001
    x = uniform(Long(n, torch.float64), generator(0, "u"))
    assert float(x.abs().max()) < 1
    assert float(x.abs().min()) > 0
    assert float(x.mean()) == pytest.approx(0, abs=4 * 3**-0.5 / n**0.5)
    assert float(x.square().mean()) == pytest.approx(1 / 3, abs=0.01)
    assert float(x.quantile(0.25)) == pytest.approx(-0.5, abs=0.02)
    assert abs(float((x[1:] * x[:-1]).mean())) < 4 / 3 / n**0.5


@pytest.mark.parametrize("dim", [1, 7, 8, 64, 65])
def test_any_length_and_the_same_again(dim: int) -> None:
    matrix = Dense(torch.eye(dim).double())
    for draw in (signs, uniform):
        assert draw(matrix, generator(3, "x")).shape == (dim,)
        assert torch.equal(draw(matrix, generator(3, "x")), draw(matrix, generator(3, "x")))
