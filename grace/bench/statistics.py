"""What is computed of a bench's numbers: pure, no torch."""

from collections.abc import Sequence

import numpy as np

from geomlab import stats


def harmonic_mean(values: Sequence[float]) -> float:
    """n / Σ 1/v of numbers that are not negative; 0, its limit, where any of them is 0."""
    return 0.0 if 0.0 in values else len(values) / sum(1 / value for value in values)


def t_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """The 95 % interval of a mean, mean ± t(0.975, n−1) · s/√n (Student 1908); None for fewer than two values."""
    if len(values) < 2:
        return None
    mean, half = float(np.mean(values)), float(stats.t_half_width(values))
    return mean - half, mean + half


def mean_interval(values: Sequence[float]) -> tuple[float, tuple[float, float] | None]:
    """Mean and its interval; NaN without values."""
    return (float(np.mean(values)) if values else float("nan")), t_interval(values)


def differences(of: dict[int, float], to: dict[int, float]) -> list[float]:
    """of − to at each seed that both have, in the order of the first."""
    return [value - to[seed] for seed, value in of.items() if seed in to]
