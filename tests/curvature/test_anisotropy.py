import math

import numpy as np
import pytest
import torch

from geomlab.curvature.anisotropy import gini, of_density, of_traces
from geomlab.linalg.density import spectral_density
from geomlab.linalg.operator import Dense
from geomlab.linalg.trace import traces
from geomlab.rng import generator


def test_hand_computed() -> None:
    probes = 3
    found = of_traces(
        np.array([8.0, 4.0]),
        np.array([0.01, 0.02]),
        10,
        np.full(probes, 20.0),
        np.full(probes, 100.0),
        np.tile([1.0, 3.0], (probes, 1)),
    )
    assert found["lambda1_over_lambdak"] == pytest.approx((2.0, 0.06))
    assert found["n_lambda1_over_trace"] == pytest.approx((4.0, 0.0))
    assert found["participation_ratio"] == pytest.approx((4.0, 0.0))
    assert found["layer_gini"] == pytest.approx((0.25, 0.0))
    assert found["layer_cv"] == pytest.approx((0.5, 0.0))


def test_what_an_indefinite_matrix_leaves_without_meaning_is_not_a_number() -> None:
    ones = np.ones((2, 2))
    found = of_traces(np.array([2.0, -1.0]), np.zeros(2), 5, np.full(2, -3.0), np.full(2, 9.0), ones)
    assert math.isnan(found["lambda1_over_lambdak"][0])
    assert math.isnan(found["n_lambda1_over_trace"][0])


@pytest.mark.parametrize(("residual", "defined"), [(0.99, True), (1.0, False), (3e5, False), (np.inf, False)])
def test_an_eigenvalue_no_larger_than_its_residual_is_no_divisor(residual: float, defined: bool) -> None:
    tens = np.full(2, 10.0)
    low = np.array([2.0, 1e-17]), np.array([1e-4, residual])
    found = of_traces(*low, 5, tens, tens, np.ones((2, 2)))
    assert math.isfinite(found["lambda1_over_lambdak"][0]) == defined
    assert found["n_lambda1_over_trace"][0] == pytest.approx(1.0)
    zero = of_traces(low[0][1:], low[1][1:], 5, tens, tens, np.ones((2, 2)))
    assert math.isfinite(zero["n_lambda1_over_trace"][0]) == defined


def test_the_error_of_a_ratio_is_that_of_its_probes() -> None:
    rng = np.random.default_rng(0)
    trace = 100 + rng.normal(size=200)
    found = of_traces(np.array([2.0, 1.0]), np.zeros(2), 50, trace, np.full(200, 1e3), np.ones((200, 2)))
    assert found["n_lambda1_over_trace"][1] == pytest.approx(100 / 100**2 / 200**0.5, rel=0.5)


@pytest.mark.parametrize(("values", "expected"), [([1, 1, 1], 0), ([0, 0, 0, 1], 0.75), ([0, 0], math.nan)])
def test_gini(values: list[float], expected: float) -> None:
    assert gini(np.array(values, dtype=float)) == pytest.approx(expected, nan_ok=True)


def of_matrix(values: torch.Tensor, steps: int) -> dict[str, tuple[float, float]]:
    n = len(values)
    q, _ = torch.linalg.qr(torch.randn(n, n, generator=generator(0, "q"), dtype=torch.float64))
    a = q @ torch.diag(values) @ q.T
    matrix = Dense((a + a.T) / 2)
    density = spectral_density(matrix, generator(1, "d"), probes=10, steps=steps)
    square = traces(matrix, generator(2, "t"), probes=30).squared_frobenius
    return dict(of_density(density, square))


def test_effective_rank_and_absolute_participation_within_their_errors() -> None:
    """Of an indefinite matrix, whose trace cancels; few steps leave more open and say so."""
    values = torch.cat([torch.linspace(-3, 3, 200), torch.tensor([20.0, 10.0])]).double()
    sizes = values.abs().numpy()
    p = sizes / sizes.sum()
    truth = {
        "effective_rank": np.exp(-(p * np.log(p)).sum()),
        "absolute_participation_ratio": sizes.sum() ** 2 / (sizes**2).sum(),
    }
    few, many = of_matrix(values, 6), of_matrix(values, 40)
    for name, exact in truth.items():
        for value, error in (few[name], many[name]):
            assert abs(value - exact) < 3 * error < exact
    assert many["effective_rank"][1] < few["effective_rank"][1]


def test_a_flat_spectrum_has_full_effective_rank() -> None:
    found = of_matrix(torch.full((50,), 3.0).double(), 10)
    assert found["effective_rank"] == pytest.approx((50, 0), abs=1e-6)
    assert found["absolute_participation_ratio"] == pytest.approx((50, 0), abs=1e-6)


def test_of_a_zero_matrix_nothing_is_defined() -> None:
    assert np.isnan(list(of_matrix(torch.zeros(5).double(), 3).values())).all()
