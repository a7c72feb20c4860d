"""Intervals of measures of features over samples, by the delete-a-group jackknife: of features at hand, or of sums.

Not the bootstrap: it repeats samples, and a repeated sample is its own nearest neighbour, adds pairs at distance 0, and
breaks the independence of pairs that debiased sums rest on (LID, TwoNN, k-NN, RSA, uniformity, debiased HSIC).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from geomlab import stats
from geomlab.features.outliers import Measure
from geomlab.features.similarity import require_samples
from geomlab.features.streamed import Sums
from geomlab.typing import Features, Float

MIN_SAMPLES = 8  # below this no interval of CKA means anything
ROUNDING = 1e-13  # of a value: a smaller spread of it is none


@dataclass(frozen=True, eq=False)
class Interval:
    """Of one or of many numbers, the 95 % interval value ∓ t(0.975, groups − 1)·stderr.

    It is of what the measure expects at this number of samples, so of a measure that is not debiased not of its limit.
    It covers 92 to 99 % (tests/features/test_intervals.py, test_coverage.py), but more for TwoNN, and for the debiased
    CKA of independent features: its variance is there that of pairs of samples alone, which the jackknife counts twice
    (Efron & Stein 1981), so the interval is √2 too long and covers 98 to 100 %. NaN where the value is, or that without
    any of the groups.

    Attributes:
        value: of all samples, fp64, on the CPU.
        stderr: its standard error.
        low: lower end, which may lie outside the measure's range.
        high: upper end.
    """

    value: Float[Tensor, "*shape"]
    stderr: Float[Tensor, "*shape"]
    low: Float[Tensor, "*shape"]
    high: Float[Tensor, "*shape"]


def jackknifed(statistic: Callable[..., Tensor], *sizes: int, groups: int = stats.GROUPS) -> Interval:
    """A measure with its interval; groups evaluations for each size, and one more.

    Of several independent samples each is thinned in turn, and their errors add in squares. Samples in several views,
    as clean and attacked, are one: give their number once and index both.

    Args:
        statistic: maps the indices (m,) that are kept of each sample to a tensor, of one or more numbers.
        sizes: how many each has.
        groups: of samples, of which one is left out at a time; at most as many as there are samples.

    Raises:
        ValueError: if one has fewer than two, or as the statistic does.
    """
    if min(sizes) < 2:
        raise ValueError(f"expected n >= 2 samples for an interval, got {min(sizes)}")
    every = [torch.arange(size) for size in sizes]
    left_out = []
    for place, size in enumerate(sizes):
        group = torch.from_numpy(stats.group_of(size, groups).copy())
        kept = [every[place][group != one] for one in range(min(groups, size))]
        left_out.append([statistic(*every[:place], rows, *every[place + 1 :]) for rows in kept])
    return _interval(statistic(*every), left_out)


def with_interval(
    measure: Measure, x: Features, y: Float[Tensor, "m other"], *, groups: int = stats.GROUPS
) -> Interval:
    """A similarity and its interval over samples; groups + 1 times the measure's cost.

    Args:
        measure: of x and y, to a number or an array of a fixed shape.
        x: (n, d) features, n >= 8.
        y: (m, d') features of the same samples, m = n.
        groups: as of `jackknifed`.

    Raises:
        ValueError: if n < 8, the samples differ in number, or the measure has too few without a group.
    """
    require_samples(x, y, MIN_SAMPLES)
    return jackknifed(lambda rows: measure(x[rows], y[rows]), len(x), groups=groups)


def interval_of_sums(statistic: Callable[[Sums], Tensor], parts: Sequence[Sums]) -> Interval:
    """What `with_interval` gives, of all pairs of layers and without the features: from the sums of each group.

    Takes the memory of one set of sums for each group.

    Args:
        statistic: for example `Sums.cka`.
        parts: of each group of samples, 2 or more; groups are random and of equal size, give or take one sample
            (`stats.group_of`).

    Raises:
        ValueError: if there are fewer than 2 groups, or the statistic has too few samples without one.
    """
    if len(parts) < 2:
        raise ValueError(f"expected at least 2 groups of samples, got {len(parts)}")
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return _interval(statistic(total), [[statistic(total - part) for part in parts]])


def _interval(value: Tensor, left_out: Sequence[Sequence[Tensor]]) -> Interval:
    """From the values without each group, of one or several independent samples."""
    variance = torch.zeros_like(value, dtype=torch.float64, device="cpu")
    for some in left_out:
        found = torch.stack([one.double().cpu() for one in some])
        variance += torch.from_numpy(stats.jackknife_error(found.numpy())).view_as(variance).square()
    whole, stderr = value.double().cpu(), variance.sqrt()
    stderr = torch.where(stderr <= ROUNDING * whole.abs(), 0.0, stderr)
    half = stats.t95(min(len(some) for some in left_out)) * stderr
    return Interval(whole, stderr, whole - half, whole + half)
