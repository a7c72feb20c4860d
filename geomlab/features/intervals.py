"""Intervals over samples of any measure of features."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geomlab import stats
from geomlab.typing import Float


@dataclass(frozen=True, eq=False)
class Measured:
    """A measure and its error over samples, each shaped as the measure is.

    Attributes:
        value: of all samples.
        stderr: one standard error; NaN where some group's absence leaves the value undefined.
        low: lower end of the 95 % interval.
        high: upper end.
    """

    value: Float[Tensor, "*shape"]
    stderr: Float[Tensor, "*shape"]
    low: Float[Tensor, "*shape"]
    high: Float[Tensor, "*shape"]


def jackknifed(statistic: Callable[..., Tensor], *sizes: int) -> Measured:
    """A measure with the 95 % interval of the delete-a-group jackknife, value ∓ t(0.975, groups − 1)·stderr.

    No bootstrap: it repeats samples, a repeated sample is its own nearest neighbour, and it adds pairs at distance 0,
    so it breaks what is measured by neighbours or by pairs (LID, TwoNN, uniformity, debiased sums).

    Of several independent samples each is thinned in turn, and their errors add in squares. Samples in several views,
    as clean and attacked, are one: give their number once and index both.

    Args:
        statistic: maps the indices (m,) that are kept of each sample to a tensor, of one or more numbers.
        sizes: how many each has.

    Raises:
        ValueError: if one has fewer than two, or as the statistic does.
    """
    if min(sizes) < 2:
        raise ValueError(f"expected n >= 2 samples for an interval, got {min(sizes)}")
    whole = [torch.arange(size) for size in sizes]
    value = statistic(*whole).double()
    variance = torch.zeros_like(value)
    for place, size in enumerate(sizes):

        def thinned(kept: NDArray[np.intp], place: int = place) -> list[float]:
            rows = [*whole[:place], torch.from_numpy(kept), *whole[place + 1 :]]
            found: list[float] = statistic(*rows).flatten().tolist()
            return found

        variance += torch.from_numpy(stats.jackknife(thinned, size)).view_as(value).square()
    stderr = variance.sqrt()
    half = stats.t95(min(stats.GROUPS, *sizes)) * stderr
    return Measured(value, stderr, value - half, value + half)
