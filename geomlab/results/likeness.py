"""How much the last features of checkpoints have in common, from what each one's cells hold of the same samples."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import xarray as xr

from geomlab import stats
from geomlab.stats import Array

LEAST = 8  # samples, as of the similarities that are measured


@dataclass(frozen=True)
class Likeness:
    """Of two checkpoints under one condition: the same samples, each attacked against its own network.

    Attributes:
        checkpoints: their names.
        condition: its name.
        cka: debiased linear CKA of their last features.
        cka_stderr: its standard error, by the delete-a-group jackknife over samples.
        n: samples.
    """

    checkpoints: tuple[str, str]
    condition: str
    cka: float
    cka_stderr: float
    n: int


def likenesses(features: xr.Dataset) -> Iterator[Likeness]:
    """All pairs of checkpoints under each condition of which the same samples are stored, eight or more.

    Args:
        features: the measurement, of dimensions checkpoint and condition.
    """
    if "sample_features" not in features:
        return
    for condition in map(str, features["condition"].values):
        found = {}
        for checkpoint in map(str, features["checkpoint"].values):
            one = features.sel(checkpoint=checkpoint, condition=condition)
            rows = one["sample_features"].transpose("sample", "feature")
            rows = rows.dropna("sample", how="all").dropna("feature", how="all")
            if len(rows) >= LEAST:
                found[checkpoint] = one["samples_sha256"].item(), np.asarray(rows.values, dtype=np.float64)
        for (a, (samples, x)), (b, (others, y)) in combinations(found.items(), 2):
            if samples and samples == others and len(x) == len(y):
                yield Likeness((a, b), condition, cka(x, y), _error(x, y), len(x))


def cka(x: Array, y: Array) -> float:
    """`features.similarity.cka` of arrays, from inner products of pairs of samples or of features.

    Args:
        x: (n, d) features, n of 4 or more.
        y: (n, d') features of the same samples.

    Returns:
        NaN where an estimate of the squares is not positive, as of constant features.
    """
    x, y = (side - side.mean(0) for side in (x, y))
    squares = [_hsic(*pair) for pair in ((x, x), (y, y))]
    return _hsic(x, y) / float(np.sqrt(squares[0] * squares[1])) if min(squares) > 0 else float("nan")


def _error(x: Array, y: Array) -> float:
    return float(stats.jackknife(lambda kept: [cka(x[kept], y[kept])], len(x))[0])


def _hsic(x: Array, y: Array) -> float:
    """Of centred features, without bias; see `features.similarity.hsic_of_sums`."""
    n, (r, s) = len(x), ((side**2).sum(1) for side in (x, y))
    product = ((x @ x.T) * (y @ y.T)).sum() if n < min(x.shape[1], y.shape[1]) else ((y.T @ x) ** 2).sum()
    total = product - n / (n - 2) * (r @ s) + r.sum() * s.sum() / ((n - 1) * (n - 2))
    return float(total / (n * (n - 3)))
