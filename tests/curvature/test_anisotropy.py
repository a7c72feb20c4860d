import math

import numpy as np
import pytest

from geomlab.curvature.anisotropy import anisotropy, gini


def test_hand_computed() -> None:
    probes = 3
    found = anisotropy(
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
    found = anisotropy(np.array([2.0, -1.0]), np.zeros(2), 5, np.full(2, -3.0), np.full(2, 9.0), ones)
    assert math.isnan(found["lambda1_over_lambdak"][0])
    assert math.isnan(found["n_lambda1_over_trace"][0])


@pytest.mark.parametrize(("residual", "defined"), [(0.99, True), (1.0, False), (3e5, False), (np.inf, False)])
def test_an_eigenvalue_no_larger_than_its_residual_is_no_divisor(residual: float, defined: bool) -> None:
    tens = np.full(2, 10.0)
    low = np.array([2.0, 1e-17]), np.array([1e-4, residual])
    found = anisotropy(*low, 5, tens, tens, np.ones((2, 2)))
    assert math.isfinite(found["lambda1_over_lambdak"][0]) == defined
    assert found["n_lambda1_over_trace"][0] == pytest.approx(1.0)
    zero = anisotropy(low[0][1:], low[1][1:], 5, tens, tens, np.ones((2, 2)))
    assert math.isfinite(zero["n_lambda1_over_trace"][0]) == defined


def test_the_error_of_a_ratio_is_that_of_its_probes() -> None:
    rng = np.random.default_rng(0)
    trace = 100 + rng.normal(size=200)
    found = anisotropy(np.array([2.0, 1.0]), np.zeros(2), 50, trace, np.full(200, 1e3), np.ones((200, 2)))
    assert found["n_lambda1_over_trace"][1] == pytest.approx(100 / 100**2 / 200**0.5, rel=0.5)


@pytest.mark.parametrize(("values", "expected"), [([1, 1, 1], 0), ([0, 0, 0, 1], 0.75), ([0, 0], math.nan)])
def test_gini(values: list[float], expected: float) -> None:
    assert gini(np.array(values, dtype=float)) == pytest.approx(expected, nan_ok=True)
