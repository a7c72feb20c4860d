"""A number with its 95 % interval."""

from dataclasses import dataclass
from math import inf

import numpy as np


@dataclass(frozen=True)
class Quantity:
    """A number that is not negative, with its error.

    Attributes:
        value: NaN where it has no meaning.
        stderr: one standard error over probes, with what is no chance; NaN from a single probe.
        low: lower end of its 95 % interval, not negative.
        high: upper end.
    """

    value: float
    stderr: float
    low: float
    high: float


def around(value: float, stderr: float, half: float, *, least: float = 0.0, most: float = inf) -> Quantity:
    """A quantity that is between `least` and `most`, with an interval of that half width."""
    value, low, high = (float(np.clip(x, least, most)) for x in (value, value - half, value + half))
    return Quantity(value, stderr, low, high)
