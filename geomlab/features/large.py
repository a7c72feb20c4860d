"""Measures of nearest neighbours of many samples: of all by the index, and beside it of a random part exactly."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from geomlab import stats
from geomlab.features.dimension import two_nn_of
from geomlab.features.index import Indexed, Neighbours, indexed
from geomlab.features.intervals import jackknifed
from geomlab.features.manifold import lid_of
from geomlab.features.neighbours import shared
from geomlab.typing import Features, Float, Int, Scalar


@dataclass(frozen=True)
class Beside:
    """A number of all samples by the index, and of the checked ones exactly.

    `off` tells of the index alone: most of `value − exact` is which samples were checked.

    Attributes:
        value: of all samples, by the index.
        stderr: its standard error.
        exact: of the samples that were checked, by their neighbours among all.
        exact_stderr: its standard error.
        off: of the samples that were checked, by the index less exact.
        recall: share of the exact neighbours that the index found.
    """

    value: float
    stderr: float
    exact: float
    exact_stderr: float
    off: float
    recall: float


def lid(near: Indexed) -> Beside:
    """Mean of `manifold.lid` over the samples where it is defined; its error is that of a mean, which holds (ours).

    Args:
        near: of features, usually of unit length; k >= 2 neighbours are those of the LID.

    Raises:
        ValueError: if k < 2.
    """
    k = near.exact.distances.shape[1]
    if k < 2:
        raise ValueError(f"expected k >= 2 neighbours, got {k}")
    return _beside(lid_of(near.found.distances), lid_of(near.exact.distances), near)


def mutual_knn(x: Indexed, y: Indexed, *, k: int = 10) -> Beside:
    """`neighbours.mutual_knn`, of features of unit length.

    A feature of 0 is a sample as any other here. The error is the jackknife's, a third too large (ours, curved
    sheets): without some samples the others have the next of their neighbours, of which more than k have to be known;
    2k are enough.

    Args:
        x: of features of unit length.
        y: of other features of the same samples, the same of which were checked: `index.indexed` gives that for
            generators that are alike.
        k: neighbours, at most as many as were looked for.

    Raises:
        ValueError: if fewer were looked for, or others were checked.
    """
    most = min(side.exact.indices.shape[1] for side in (x, y))
    if not 0 < k <= most:
        raise ValueError(f"expected 0 < k <= {most}, the neighbours that were looked for, got k = {k}")
    if not torch.equal(x.rows, y.rows) or len(x.found.indices) != len(y.found.indices):
        raise ValueError("expected the same samples in both, of which the same were checked; got others")
    found, exact = (
        shared(a.indices[:, :k], b.indices[:, :k]) for a, b in ((x.found, y.found), (x.exact, y.exact))
    )
    value = jackknifed(lambda rows: _of_kept(x, y, rows, k), len(found))
    return replace(_beside(found, exact, x, y), stderr=float(value.stderr))


def two_nn(features: Features, near: Indexed, generator: torch.Generator) -> Beside:
    """`dimension.two_nn`, with the jackknife's error, as there: without some samples the others have the next nearest.

    Args:
        features: (n, d), usually of unit length.
        near: of these, k >= 2.
        generator: for another index, should some samples be equal, of those that are distinct.

    Raises:
        ValueError: if k < 2, or fewer than 10 samples are distinct or were checked.
    """
    if near.exact.distances.shape[1] < 2:
        raise ValueError("expected k >= 2 neighbours, got 1")
    if bool((near.found.distances[:, 0] == 0).any()):
        distinct = features.unique(dim=0)
        near = indexed(distinct, near.exact.distances.shape[1], generator, checked=len(near.rows))
    found = near.found
    whole = jackknifed(lambda rows: two_nn_of(_kept(found, found.distances, rows, 2)), len(found.distances))
    part = jackknifed(lambda rows: two_nn_of(near.exact.distances[rows]), len(near.rows))
    here = two_nn_of(found.distances[near.rows])
    return Beside(
        float(whole.value),
        float(whole.stderr),
        float(part.value),
        float(part.stderr),
        float(here - part.value),
        _recall(near),
    )


def _of_kept(x: Indexed, y: Indexed, rows: Int[Tensor, "kept"], k: int) -> Scalar:
    here, there = (_kept(side.found, side.found.indices, rows, k) for side in (x, y))
    return shared(here, there).mean()


def _kept(near: Neighbours, values: Tensor, rows: Int[Tensor, "kept"], k: int) -> Tensor:
    """(kept, k) of these samples, the values of their k nearest among themselves.

    Where fewer of them are known, the nearest of the others are last.
    """
    among = torch.zeros(len(values), dtype=torch.bool)
    among[rows] = True
    order = (~among[near.indices[rows]]).byte().sort(dim=1, stable=True).indices[:, :k]
    return values[rows].gather(1, order)


def _beside(found: Float[Tensor, "n"], exact: Float[Tensor, "m"], *sides: Indexed) -> Beside:
    """Of what each sample has, NaN where it is not defined."""
    apart = stats.mean_of_defined(found[sides[0].rows] - exact)[0]
    return Beside(
        *stats.mean_of_defined(found),
        *stats.mean_of_defined(exact),
        apart,
        min(_recall(side) for side in sides),
    )


def _recall(near: Indexed) -> float:
    return float(near.recall.mean())
