import math

import numpy as np
import pytest
from scipy import stats

from grace.bench.statistics import differences, harmonic_mean, mean_interval, t_interval

VALUES = [0.31, 0.42, 0.35, 0.5]


def test_harmonic_mean() -> None:
    assert harmonic_mean([0.7421, 0.5701, 0.2244]) == pytest.approx(stats.hmean([0.7421, 0.5701, 0.2244]))
    assert harmonic_mean([0.5, 0.25]) == pytest.approx(1 / 3)
    assert harmonic_mean([0.9, 0.0, 0.9]) == 0.0


def test_t_interval() -> None:
    expected = stats.ttest_1samp(VALUES, 0.0).confidence_interval(0.95)
    assert t_interval(VALUES) == pytest.approx((expected.low, expected.high), rel=1e-12)
    by_hand = 12.706204736 * math.sqrt(2) * 0.1 / math.sqrt(2)  # two values, one degree of freedom
    assert t_interval([0.2, 0.4]) == pytest.approx((0.3 - by_hand, 0.3 + by_hand), rel=1e-9)
    assert t_interval([0.2]) is None
    equal = t_interval([0.175, 0.175, 0.175])  # their mean is another number in floating point
    assert equal is not None
    assert equal[0] == equal[1] == pytest.approx(0.175)
    assert mean_interval([0.2]) == (0.2, None)
    assert np.isnan(mean_interval([])[0])


def test_differences_are_paired_by_seed() -> None:
    assert differences({0: 0.5, 2: 0.75, 1: 1.0}, {1: 0.25, 0: 0.25, 5: 9.0}) == [0.25, 0.75]
