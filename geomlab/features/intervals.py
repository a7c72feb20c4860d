"""Intervals of similarities over samples, by the delete-a-group jackknife: of features at hand, or of streamed sums.

Not the bootstrap: a sample drawn twice is its own nearest neighbour (k-NN, RSA), and breaks the independence of pairs
that the debiased HSIC rests on (`stats.jackknife`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from geomlab import stats
from geomlab.features.outliers import Measure
from geomlab.features.similarity import require_samples
from geomlab.features.streamed import Sums
from geomlab.typing import Features, Float

_MIN_SAMPLES = 8  # below this no interval of CKA means anything


@dataclass(frozen=True, eq=False)
class Interval:
    """Of one or of many numbers, the 95 % interval value ∓ t(0.975, groups − 1)·stderr.

    It is of what the measure expects at this number of samples, so of a measure that is not debiased not of its limit.
    It covers 94 to 99 % (tests/features/test_intervals.py), but more for the debiased CKA of independent features: its
    variance is there that of pairs of samples alone, which the jackknife counts twice (Efron & Stein 1981), so the
    interval is √2 too long and covers 98 to 100 %. NaN where the value is, or that without any of the groups.

    Attributes:
        value: of all samples.
        stderr: its standard error.
        low: lower end, which may lie outside the measure's range.
        high: upper end.
    """

    value: stats.Array
    stderr: stats.Array
    low: stats.Array
    high: stats.Array


def with_interval(
    measure: Measure, x: Features, y: Float[Tensor, "m other"], *, groups: int = stats.GROUPS
) -> Interval:
    """A similarity and its interval over samples; groups + 1 times the measure's cost.

    Args:
        measure: of x and y, to a number or an array of a fixed shape.
        x: (n, d) features, n >= 8.
        y: (m, d') features of the same samples, m = n.
        groups: of samples, of which one is left out at a time; at most n.

    Raises:
        ValueError: if n < 8, the samples differ in number, or the measure has too few without a group.
    """
    require_samples(x, y, _MIN_SAMPLES)
    group = torch.from_numpy(stats.group_of(len(x), groups).copy()).to(x.device)
    left_out = [measure(x[group != g], y[group != g]) for g in range(min(groups, len(x)))]
    return _interval(measure(x, y), left_out)


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
    return _interval(statistic(total), [statistic(total - part) for part in parts])


def _interval(value: Tensor, left_out: Sequence[Tensor]) -> Interval:
    whole = value.double().cpu().numpy()
    stderr = stats.jackknife_error(np.stack([part.double().cpu().numpy() for part in left_out]))
    half = stats.t95(len(left_out)) * stderr
    return Interval(whole, stderr, np.asarray(whole - half), np.asarray(whole + half))
