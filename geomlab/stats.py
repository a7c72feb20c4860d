"""Intervals and standard errors."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtrc, chndtr, chndtrinc, stdtr, stdtrit

Array = NDArray[np.float64]
Z95 = 1.959963984540054  # the 97.5 % quantile of the standard normal
GROUPS = 20  # of samples, of the jackknife: ours


def wilson(successes: int, n: int) -> tuple[float, float]:
    """The 95 % Wilson score interval of a proportion (Wilson 1927).

    Args:
        successes: number of successes.
        n: number of trials, at least 1.

    Returns:
        Lower and upper end, inside [0, 1] and not collapsed at 0 or n successes.

    Raises:
        ValueError: if not 0 <= successes <= n or n < 1.
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"expected 0 <= successes <= n and n >= 1, got {successes} of {n}")
    low, high = score_interval(np.array(successes / n), np.array(float(n)))
    return float(low), float(high)


def score_interval(p: Array, n: Array) -> tuple[Array, Array]:
    """Wilson's interval of proportions p of n trials, which need not be whole."""
    z2 = Z95**2
    upper = p + z2 / (2 * n) + Z95 * np.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    # The ends are the roots of (1 + z²/n)x² − (2p + z²/n)x + p²: by their product, the lower one does not cancel.
    # p lies between them; rounding must not say otherwise.
    return np.asarray(np.minimum(p**2 / upper, p)), np.asarray(np.maximum(upper / (1 + z2 / n), p))


def mean_stderr(values: ArrayLike) -> tuple[float, float]:
    """Mean and its standard error s/√n; the error of a single value is NaN."""
    x = np.asarray(values, dtype=np.float64)
    stderr = float(x.std(ddof=1) / np.sqrt(x.size)) if x.size > 1 else float("nan")
    return float(x.mean()), stderr


def mean_of_defined(values: ArrayLike) -> tuple[float, float]:
    """`mean_stderr` of the finite values; NaN where there is none."""
    x = np.asarray(values, dtype=np.float64)
    x = x[np.isfinite(x)]
    return mean_stderr(x) if x.size else (float("nan"), float("nan"))


def t_half_width(values: ArrayLike) -> Array:
    """Half the width of the 95 % interval of a mean, t(0.975, n−1)·s/√n (Student 1908).

    Args:
        values: (n, …), samples first.

    Returns:
        NaN for a single sample, and 0, not the rounding of their mean, where all are equal.
    """
    x = np.asarray(values, dtype=np.float64)
    if len(x) < 2:
        return np.full(x.shape[1:], np.nan)
    stderr = np.where(np.ptp(x, axis=0) == 0, 0.0, x.std(axis=0, ddof=1)) / np.sqrt(len(x))
    return np.asarray(t95(len(x)) * stderr)


def t95(n: float) -> float:
    """Student's t(0.975, n − 1): half of the 95 % interval of a mean of n samples, in standard errors; NaN below 2."""
    return float(stdtrit(n - 1, 0.975)) if n >= 2 else float("nan")


def length_interval(mean: ArrayLike, samples: ArrayLike) -> tuple[float, float]:
    """The 95 % interval of the length of a vector whose estimate has noise, also where it is not told from zero.

    The squared length is taken as noncentral χ², with the noise's effective number of dimensions (tr C)²/tr C²
    (Satterthwaite 1946) as if it were alike in all of them, and Student's quantile for the normal one; the ends are the
    lengths at which the one found would be at the quantiles.

    Args:
        mean: (dim,) the estimate.
        samples: (n, dim) whose mean it is, up to a constant: only their spread counts; n at least 2, else NaN.

    Returns:
        Lower end, 0 where the length is not told from zero, and upper end.
    """
    v, x = np.asarray(mean, dtype=np.float64), np.asarray(samples, dtype=np.float64)
    n, length = len(x), float(np.linalg.norm(v))
    if n < 2:
        return float("nan"), float("nan")
    covariance = np.atleast_2d(np.cov(x.T)) / n
    if not covariance.any():
        return length, length
    dimensions = float(np.trace(covariance) ** 2 / (covariance**2).sum())
    variance = float(np.trace(covariance)) / dimensions * (t95(n) / Z95) ** 2  # in a dimension
    ends = [
        chndtrinc(length**2 / variance, dimensions, p)
        if chndtr(length**2 / variance, dimensions, 0) > p
        else 0.0
        for p in (0.975, 0.025)
    ]
    low, high = np.sqrt(variance * np.array(ends)).tolist()
    return min(low, length), max(high, length)


def positive_interval(mean: float, stderr: float) -> tuple[float, float]:
    """The 95 % interval of the mean of values that are never negative, a loss: symmetric in its logarithm.

    Its standard error is stderr/mean to first order, so the ends are mean·exp(∓1.96·stderr/mean): never below zero, and
    longer upwards, where the few large losses are that a sample may have missed. With a small error they are
    mean ∓ 1.96·stderr.

    Returns:
        Lower and upper end; both 0 where the mean is.
    """
    if mean <= 0:
        return 0.0, 0.0
    factor = float(np.exp(Z95 * stderr / mean))
    return mean / factor, mean * factor


def sign_test(more: int, fewer: int) -> float:
    """How likely at least so many of the pairs that differ would do so in one way by chance: one-sided and exact.

    Of paired right and wrong answers it is McNemar's test (1947): P(X ≥ more), X ~ B(more + fewer, ½).

    Args:
        more: pairs that differ in the way asked about.
        fewer: pairs that differ in the other.

    Returns:
        1 where no pair differs.
    """
    return at_least(more, more + fewer, 0.5)


def at_least(successes: int, n: int, p: float) -> float:
    """P(X ≥ successes), X ~ B(n, p)."""
    return float(bdtrc(successes - 1, n, p)) if successes > 0 else 1.0


def paired_difference(a: ArrayLike, b: ArrayLike) -> tuple[float, float]:
    """Mean of a − b over pairs and its standard error."""
    return mean_stderr(np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64))


def jackknife(
    statistic: Callable[[NDArray[np.intp]], Sequence[float]], n: int, *, groups: int = GROUPS
) -> Array:
    """Standard errors of statistics of n samples by the delete-a-group jackknife (Kott 2001).

    Unlike the bootstrap it repeats no sample. A repeated sample is its own nearest neighbour and breaks the
    independence that the debiased HSIC rests on, so a bootstrap would bias both LID and CKA.

    Args:
        statistic: maps the indices that are kept, (m,), to one or several numbers.
        n: number of samples; they are split into groups by `group_of`.
        groups: number of groups, at most n.

    Returns:
        (number of statistics,) standard errors.
    """
    index, group = np.arange(n), group_of(n, groups)
    left_out = [statistic(index[group != g]) for g in range(min(groups, n))]
    return jackknife_error(np.array(left_out, dtype=np.float64))


@cache
def group_of(n: int, groups: int = GROUPS) -> NDArray[np.intp]:
    """(n,) the group of each sample, at random but always alike: samples may come in turns, say one of each class."""
    group = np.random.default_rng(0).permutation(n) % min(groups, n)
    group.flags.writeable = False
    return group


def debiased(statistic: Callable[[NDArray[np.intp]], Sequence[float]], n: int) -> tuple[Array, Array]:
    """Statistics of n samples less their bias of order 1/n, and standard errors: the jackknife (Quenouille 1956).

    With t95(n) of these errors the 95 % intervals of ratios and shares of means cover
    (tests/curvature/test_anisotropy.py). It takes n + 1 evaluations.

    Args:
        statistic: maps the indices that are kept, (m,), to one or several numbers.
        n: number of samples; of a single one the value is as it is and the error NaN.

    Returns:
        (number of statistics,) values, and errors.
    """
    index = np.arange(n)
    whole = np.array(statistic(index), dtype=np.float64)
    if n < 2:
        return whole, np.full(whole.shape, np.nan)
    left_out = np.array([statistic(np.delete(index, i)) for i in index], dtype=np.float64)
    return whole - (n - 1) * (left_out - whole).mean(axis=0), jackknife_error(left_out)


def jackknife_error(left_out: Array) -> Array:
    """Standard errors from the statistics (groups, …) without each group."""
    groups = len(left_out)
    spread = ((left_out - left_out.mean(axis=0)) ** 2).sum(axis=0)
    return np.asarray(np.sqrt((groups - 1) / groups * spread), dtype=np.float64)


def second_order_error(whole: ArrayLike, left_out: Array, two_out: Array) -> Array:
    """Standard errors from the statistics without each group and without each two.

    The jackknife counts the part of the variance that is of pairs of groups, and of neither alone, twice. With
    Q_gh = G·θ − (G − 1)(θ_g + θ_h) + (G − 2)·θ_gh that part is e = Σ (Q_gh − Q̄)²/(G(G − 1)) over pairs (Efron & Stein
    1981), and J − e is left of the jackknife's J. Of a statistic of pairs alone, a degenerate U-statistic, e is half of
    J. How much of a noisy e is believed is ours, chosen by coverage (tests/features/test_coverage.py): with
    r = 2e/J, J(1 − r²/2) for r < 1, as terms of three groups are in e three times; else J/2·r^⅓, which is never below
    that half, and between the two estimates of the same: e has the more noise, but of features along one direction J
    misses most of it.

    Args:
        whole: (…) of all samples.
        left_out: (groups, …).
        two_out: (groups·(groups − 1)/2, …), in the order of `itertools.combinations`.

    Returns:
        (…); the jackknife's where a statistic without two is not defined.
    """
    groups = len(left_out)
    first, second = np.triu_indices(groups, 1)
    apart = groups * np.asarray(whole) - (groups - 1) * (left_out[first] + left_out[second])
    q = apart + (groups - 2) * two_out
    twice = ((q - q.mean(axis=0)) ** 2).sum(axis=0) / (groups * (groups - 1))
    variance = jackknife_error(left_out) ** 2
    share = 2 * twice / np.where(variance > 0, variance, np.nan)
    factor = np.where(share < 1, 1 - share**2 / 2, np.cbrt(share) / 2)
    return np.asarray(np.sqrt(variance * np.where(np.isfinite(factor), factor, 1)), dtype=np.float64)


def half_error(apart: Array) -> Array:
    """Standard errors from the differences (splits, …) of a statistic between the halves of random splits.

    Halves have no sample in common, so half of E d² is the variance at n/2, whatever the statistic, and half of that
    the variance at n, where it falls as 1/n (balanced half-samples, McCarthy 1969, of which both halves are taken here
    and none is the whole). Its degrees of freedom are about the number of splits.
    """
    return np.asarray(np.sqrt((apart**2).mean(axis=0)) / 2, dtype=np.float64)


@cache
def halves(n: int, splits: int = GROUPS) -> NDArray[np.intp]:
    """(splits, n) orders of the samples, at random but always alike, of which the first n // 2 are a half."""
    rng = np.random.default_rng(0)
    orders = np.stack([rng.permutation(n) for _ in range(splits)])
    orders.flags.writeable = False
    return orders


@dataclass(frozen=True)
class Difference:
    """Of two numbers of samples.

    Attributes:
        value: the first less the second.
        low: lower end of its 95 % interval.
        high: upper end.
        p: two-sided, of no difference, by Student's t.
    """

    value: float
    low: float
    high: float
    p: float


def jackknife_difference(a: tuple[float, Array], b: tuple[float, Array], *, paired: bool) -> Difference:
    """The difference of two numbers with a delete-a-group jackknife each, and a test of it.

    Args:
        a: a number, and the same (groups,) without each group of its samples.
        b: likewise.
        paired: whether both are of the same samples in the same groups: what they share is then not in the error.

    Returns:
        With NaN for what cannot be told: from a single group, from numbers that are not finite, or from numbers that
        differ and that no group of samples changes, as those that have come to a bound of theirs.
    """
    (x, without_x), (y, without_y) = a, b
    groups = min(len(without_x), len(without_y))
    if groups < 2:
        return Difference(x - y, np.nan, np.nan, np.nan)
    with np.errstate(invalid="ignore"):
        if paired:
            error = float(jackknife_error(without_x - without_y))
        else:
            error = float(np.hypot(jackknife_error(without_x), jackknife_error(without_y)))
    if not error:
        return Difference(0.0, 0.0, 0.0, 1.0) if x == y else Difference(x - y, np.nan, np.nan, np.nan)
    half = t95(groups) * error
    p = 2 * float(stdtr(groups - 1, -abs(x - y) / error))
    return Difference(x - y, x - y - half, x - y + half, p)


def principal_cosines(a: ArrayLike, b: ArrayLike) -> Array:
    """Cosines of the principal angles between two column spaces, descending (Björck & Golub 1973).

    Args:
        a: (n, k) of full rank.
        b: (n, m) of full rank.

    Returns:
        (min(k, m),) in [0, 1]; 1 along a direction that both contain.
    """
    bases = [np.linalg.qr(np.asarray(x, dtype=np.float64))[0] for x in (a, b)]
    return np.clip(np.linalg.svd(bases[0].T @ bases[1], compute_uv=False), 0, 1)


def leaders(values: ArrayLike, errors: ArrayLike) -> NDArray[np.bool_]:
    """Which of several independent numbers may be the largest: the largest, and all that it does not lead for sure.

    Args:
        values: (k, …) the numbers.
        errors: (k, …) their standard errors.

    Returns:
        (k, …), True where the largest leads by no more than 1.96 errors of the difference. A number that is NaN may be
        any, so that then none is sure to lead: all are True.
    """
    x, error = np.asarray(values, dtype=np.float64), np.asarray(errors, dtype=np.float64)
    top = np.argmax(x, axis=0)[None]
    lead, of_top = (np.take_along_axis(one, top, axis=0) for one in (x, error))
    sure = lead - x > Z95 * np.hypot(of_top, error)
    return np.asarray(~sure)  # argmax finds a NaN, which leads for sure over none
