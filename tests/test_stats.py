from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from geomlab import stats
from geomlab.stats import Array, group_of, jackknife_difference


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (5, 10, 0.2366, 0.7634), (97, 100, 0.9155, 0.9897)],
)
def test_wilson_has_its_published_values(successes: int, n: int, low: float, high: float) -> None:
    assert stats.wilson(successes, n) == pytest.approx((low, high), abs=2e-4)


@pytest.mark.parametrize(("successes", "n"), [(1, 0), (3, 2), (-1, 2)])
def test_wilson_refuses_what_is_no_proportion(successes: int, n: int) -> None:
    with pytest.raises(ValueError, match="0 <= successes <= n"):
        stats.wilson(successes, n)


def test_jackknife_of_a_mean_is_its_standard_error() -> None:
    x = np.random.default_rng(0).normal(size=1000)
    (leave_one_out,) = stats.jackknife(lambda rows: [x[rows].mean()], 1000, groups=1000)
    assert leave_one_out == pytest.approx(stats.mean_stderr(x)[1], rel=1e-6)
    (grouped,) = stats.jackknife(lambda rows: [x[rows].mean()], 1000)
    assert grouped == pytest.approx(stats.mean_stderr(x)[1], rel=0.5)


def test_jackknife_is_not_misled_by_samples_that_come_in_turns() -> None:
    x = np.tile(np.arange(20.0), 50)  # groups by index would hold one value each
    (stderr,) = stats.jackknife(lambda rows: [x[rows].mean()], 1000)
    assert stderr == pytest.approx(stats.mean_stderr(x)[1], rel=0.6)


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(1)
    covered = []
    for _ in range(200):
        x = rng.exponential(size=100)
        mean, stderr = stats.mean_stderr(x)
        covered.append(abs(mean - 1) < 1.96 * stderr)
    assert 0.88 < np.mean(covered) < 0.99


def test_the_interval_of_a_loss_is_never_below_zero() -> None:
    low, high = stats.positive_interval(0.0543, 0.0380)  # a few large losses among many small ones
    assert 0 < low < 0.0543 < high
    assert low * high == pytest.approx(0.0543**2)
    assert stats.positive_interval(2, 0.001) == pytest.approx((2 - 0.00196, 2 + 0.00196), rel=1e-6)
    assert stats.positive_interval(0, 0) == (0, 0)
    rng = np.random.default_rng(3)
    covered = [
        low <= 1 <= high
        for low, high in (
            stats.positive_interval(*stats.mean_stderr(rng.exponential(size=30))) for _ in range(400)
        )
    ]
    assert 0.9 < np.mean(covered) < 0.98


def test_pairing_removes_what_is_common() -> None:
    common = np.random.default_rng(2).normal(size=50) * 100
    assert stats.paired_difference(common + 1, common) == pytest.approx((1, 0), abs=1e-9)


def test_the_error_of_one_value_is_not_known() -> None:
    assert np.isnan(stats.mean_stderr([3.0])[1])


@pytest.mark.parametrize("length", [0.0, 0.5, 2.0, 10.0])
def test_the_length_of_a_noisy_vector_is_covered(length: float) -> None:
    """Its own length is too long by the noise; where it is not told from zero, the interval begins there."""
    truth, inside, zeros = np.array([length, 0, 0, 0]), 0, 0
    for seed in range(300):
        samples = truth + 20**0.5 * np.random.default_rng(seed).normal(size=(20, 4)) / 2
        low, high = stats.length_interval(samples.mean(axis=0), samples)
        inside += low <= length <= high
        zeros += low == 0
    assert inside / 300 >= 0.95  # the noise is in fewer directions than it is taken for, along the vector
    assert (zeros > 270) == (length < 1)


def test_the_length_of_a_vector_without_noise_is_its_own() -> None:
    assert stats.length_interval([3.0, 4.0], [[3.0, 4.0]] * 5) == (5.0, 5.0)
    assert np.isnan(stats.length_interval([3.0, 4.0], [[3.0, 4.0]])).all()


def test_the_test_of_a_difference_rejects_as_often_as_it_says_and_sees_what_is_shared() -> None:
    def variance(x: Array) -> tuple[float, Array]:
        group = group_of(len(x))
        return float(x.var()), np.array([x[group != g].var() for g in range(20)])

    same, different, alone = [], [], []
    for seed in range(400):
        rng = np.random.default_rng(seed)
        common = rng.normal(size=200)
        a, b = common + 0.1 * rng.normal(size=200), common + 0.1 * rng.normal(size=200)
        same.append(jackknife_difference(variance(a), variance(b), paired=True))
        different.append(jackknife_difference(variance(1.05 * a), variance(b), paired=True))
        alone.append(jackknife_difference(variance(1.05 * a), variance(b), paired=False))
    assert 0.03 < np.mean([one.p < 0.05 for one in same]) < 0.075
    assert all((one.p < 0.05) == (not one.low < 0 < one.high) for one in same)
    assert np.mean([one.p < 0.05 for one in different]) > 0.9  # and hardly ever where pairs are ignored
    assert np.mean([one.p < 0.05 for one in alone]) < 0.05


def test_a_difference_that_cannot_be_told_is_not_a_number() -> None:
    exact = (1.0, np.ones(20))
    assert jackknife_difference(exact, exact, paired=True).p == 1
    saturated = jackknife_difference(exact, (-1.0, np.full(20, -1.0)), paired=True)
    assert saturated.value == 2
    assert np.isnan([saturated.low, saturated.high, saturated.p]).all()
    assert np.isnan(jackknife_difference((1.0, np.ones(1)), (2.0, np.ones(1)), paired=True).p)
    assert np.isnan(jackknife_difference(exact, (2.0, np.full(20, np.nan)), paired=True).p)


def leave_out(statistic: Callable[[Array], Any], x: Array) -> tuple[Any, Array, Array]:
    """A statistic of all rows, without each, and without each two."""
    one = [statistic(np.delete(x, i, 0)) for i in range(len(x))]
    two = [statistic(np.delete(x, pair, 0)) for pair in combinations(range(len(x)), 2)]
    return statistic(x), np.array(one), np.array(two)


def of_pairs(x: Array) -> Array:
    """Mean of ⟨x_i, x_j⟩ over i ≠ j."""
    return np.asarray(((x.sum(0) ** 2).sum() - (x**2).sum()) / (len(x) * (len(x) - 1)))


def test_of_a_mean_nothing_is_of_pairs() -> None:
    x = np.random.default_rng(0).normal(size=(12, 3))
    found = leave_out(lambda rows: rows.mean(0), x)
    np.testing.assert_allclose(stats.second_order_error(*found), stats.jackknife_error(found[1]), rtol=1e-10)


@pytest.mark.parametrize(
    ("mean", "ours", "jackknife"), [(0.0, (1, 1.3), (1.8, 2.3)), (1.0, (0.9, 1.2), (0.9, 1.2))]
)
def test_what_the_jackknife_counts_twice_is_counted_once(
    mean: float, ours: tuple[float, float], jackknife: tuple[float, float]
) -> None:
    """Var ⟨x_i, x_j⟩ means of N(μ, 1)^d: 4‖μ‖²/n + 2d/(n(n − 1))."""
    n, d, shares = 20, 300, []
    truth = 4 * d * mean**2 / n + 2 * d / (n * (n - 1))
    for seed in range(60):
        found = leave_out(of_pairs, mean + np.random.default_rng(seed).normal(size=(n, d)))
        errors = stats.second_order_error(*found), stats.jackknife_error(found[1])
        shares.append([float(one) ** 2 / truth for one in errors])
    corrected, plain = np.mean(shares, 0)
    assert ours[0] < corrected < ours[1]
    assert jackknife[0] < plain < jackknife[1]


def test_without_a_statistic_of_two_left_out_the_jackknife_stays() -> None:
    whole, one, two = leave_out(lambda rows: rows.var(0), np.random.default_rng(0).normal(size=(9, 2)))
    two[3, 1] = np.nan
    found, expected = stats.second_order_error(whole, one, two), stats.jackknife_error(one)
    assert found[1] == expected[1]
    assert found[0] < expected[0]
    assert stats.second_order_error(np.ones(2), np.ones((9, 2)), np.ones((36, 2))).tolist() == [0, 0]


def test_what_leads_by_less_than_its_error_does_not_lead_alone() -> None:
    values, errors = (
        [[3.0, 3.0, 3.0, 3.0], [1.0, 2.9, 3.0, np.nan]],
        [[0.1, 0.1, 0.0, 0.1], [0.1, 0.1, 0.0, 0.1]],
    )
    assert stats.leaders(values, errors).tolist() == [[True] * 4, [False, True, True, True]]
    assert stats.leaders([1.0, 1.27, 1.29], [0, 0.1, 0.1]).tolist() == [False, True, True]
    for lead, alone in ((0.195, False), (0.197, True)):  # 1.96 errors of 0.1
        assert stats.leaders([1.0, 1.0 + lead], [0, 0.1]).tolist() == [not alone, True]
