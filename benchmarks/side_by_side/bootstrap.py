"""Bootstrap intervals over samples (Efron & Tibshirani 1993, ch. 12-13), and what intervals are worth over draws."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from geomlab.rng import generator
from geomlab.stats import Z95

Ends = tuple[float, float]


def replicates(statistic: Callable[..., Tensor], sizes: Sequence[int], number: int, seed: int) -> Tensor:
    """(number,) the statistic of as many rows of each sample as it has, drawn with replacement."""
    g = generator(seed, "bootstrap")
    drawn = [[torch.randint(size, (size,), generator=g) for size in sizes] for _ in range(number)]
    return torch.stack([statistic(*rows).double() for rows in drawn])


def bootstrapped(value: float, found: Tensor) -> dict[str, Ends]:
    """95 % intervals of a value from its replicates; undefined ones are left out.

    `percentile` takes their quantiles, `basic` turns these about the value, which takes their bias off it, and `normal`
    has only their spread, about the value as it is.
    """
    found = found[found.isfinite()]
    low, high = torch.quantile(found, found.new_tensor([0.025, 0.975])).tolist()
    half = Z95 * float(found.std())
    return {
        "percentile": (low, high),
        "basic": (2 * value - high, 2 * value - low),
        "normal": (value - half, value + half),
    }


def judged(ends: Sequence[Ends], targets: dict[str, float]) -> dict[str, float]:
    """The share of intervals that cover each target, and their median length; undefined ones cover nothing."""
    low, high = torch.tensor(ends, dtype=torch.float64).T
    shares = {
        f"covers {name}": float(((low <= target) & (target <= high)).double().mean())
        for name, target in targets.items()
    }
    return {**shares, "length": float((high - low).median())}
