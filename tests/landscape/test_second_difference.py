from collections.abc import Callable

import numpy as np
import pytest

from geomlab.landscape.second_difference import extrapolated, second_differences, steps

FUNCTIONS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], float]] = {
    "quadratic": (lambda x: 1 + 2 * x + 3.5 * x**2, 7.0),
    "cosine": (lambda x: np.cos(3 * x), -9.0),
    "exponential": (lambda x: np.exp(2 * x), 4.0),
    "softplus": (lambda x: np.log1p(np.exp(5 * x)), 25 / 4),
    "steep": (lambda x: x**2 + 1e3 * x**4, 2.0),
    "line": (lambda x: 2 * x, 0.0),
}


def of(function: Callable[[np.ndarray], np.ndarray], largest: float, noise: float = 0.0, seed: int = 0):
    h, rng = steps(largest), np.random.default_rng(seed)
    values = lambda x: function(x) + noise * rng.normal(size=np.shape(x))  # noqa: E731
    found = second_differences(h, values(-h), values(np.zeros(1)), values(h))
    return extrapolated(h, found, max(noise, np.finfo(float).eps * abs(float(function(np.zeros(1))[0]))))


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("largest", [0.1, 1.0])
def test_the_second_derivative_and_a_bound_of_its_error(name: str, largest: float) -> None:
    function, exact = FUNCTIONS[name]
    found = of(function, largest)
    assert abs(found.value - exact) <= 3 * found.error + 1e-12
    assert found.error < 1e-3 * max(1, abs(exact))


def test_the_value_is_the_weighted_sum_of_second_differences() -> None:
    h = steps(1.0)
    differences = second_differences(h, np.cos(-h), np.ones(1), np.cos(h))
    found = extrapolated(h, differences, 1e-16)
    assert found.value == pytest.approx(found.weights @ differences)
    assert found.weights.sum() == pytest.approx(1)


def test_noise_is_within_the_error_of_most_seeds() -> None:
    """As float32 has it: the error says how much of it there is, and so no smaller steps are taken than it allows."""
    function, exact = FUNCTIONS["cosine"]
    found = [of(function, 0.3, noise=1e-7, seed=seed) for seed in range(200)]
    good = [abs(one.value - exact) <= 3 * one.error for one in found]
    assert np.mean(good) > 0.98
    assert max(one.error for one in found) < 0.01


def test_steps_at_which_the_loss_overflows_are_left_out() -> None:
    h = steps(1.0)
    differences = second_differences(h, np.cos(-h), np.ones(1), np.cos(h))
    differences[:3] = [np.inf, np.nan, np.inf]
    found = extrapolated(h, differences, 1e-16)
    assert found.value == pytest.approx(-1, abs=1e-9)
    assert not found.weights[:3].any()
    nothing = extrapolated(h, np.full(len(h), np.nan), 1e-16)
    assert np.isnan(nothing.value)
    assert np.isinf(nothing.error)
