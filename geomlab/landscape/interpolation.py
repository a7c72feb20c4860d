"""A surface through scattered points, smooth, and linear in their values; and one of losses, which is not.

Around each place the polyharmonic spline r⁵ with a quadratic goes through the nearest points (Fornberg & Flyer, A
Primer on Radial Basis Functions, 2015, ch. 5). It is of high order where the surface is smooth, and what is far away, a
wall of the loss for example, does not reach it.

A loss of a sample, −log p of its label, is a softplus of log (1 − p)/p, the margin that the other classes have over the
label. A margin is as smooth as the logits; the loss bends besides, wherever a sample turns from right to wrong. So the
margins of all samples are interpolated and their losses averaged (ours; errors of both ways: benchmarks/landscape.py).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.spatial import KDTree

from geomlab.stats import Array

POWER = 5  # of the distance
NEAREST = 50  # that a value is made of; all do hardly better (benchmarks/results/landscape_ways.json); ours
FEWEST = 12  # that a spline goes through; of fewer the nearest counts
EPSILON = 1e-12  # keeps the system solvable where points lie on a line
LOST = (
    1e-6  # by which shares do not add up to 1 beside points on a line, which do not tell: the nearest counts
)
AT_ONCE = 1000  # places whose systems are held
RIGHT = 1e-7  # a loss that is not told from less in single precision: below it the margin is not known, and as here


@dataclass(frozen=True, eq=False)
class Weights:
    """How the values at some places are made of those at points.

    Attributes:
        points: (places, k) which of the points.
        share: (places, k) what each counts; of a place that is a point that one alone, with 1.
    """

    points: NDArray[np.intp]
    share: Array

    def of(self, values: Array) -> Array:
        """(places, …) values out of (points, …); not finite where one of those that count is not."""
        places, k = self.points.shape
        rows = csr_array(
            (self.share.ravel(), self.points.ravel(), np.arange(0, places * k + 1, k)), (places, len(values))
        )
        with np.errstate(invalid="ignore", over="ignore"):
            return np.asarray(rows @ values)


def weights(points: Array, places: Array) -> Weights:
    """Of the nearest points, for each place.

    Args:
        points: (n, 2), all different, at least one; on scales on which distances along both axes compare.
        places: (m, 2).
    """
    tree = KDTree(points)
    k = NEAREST if len(points) >= NEAREST else len(points)
    if k < FEWEST:
        nearest = tree.query(places, [1])[1]
        return Weights(nearest, np.ones(nearest.shape))
    found, shares = [], []
    for some in np.split(places, range(AT_ONCE, len(places), AT_ONCE)):
        distance, index = tree.query(some, k)
        share = _shares((points[index] - some[:, None]) / distance[:, -1, None, None])
        alone = (distance[:, 0] == 0) | (np.abs(share.sum(1) - 1) > LOST)
        share[alone] = np.arange(k) == 0
        found.append(index)
        shares.append(share)
    return Weights(np.concatenate(found), np.concatenate(shares))


def interpolated(points: Array, places: Array, values: Array, finite: NDArray[np.bool_]) -> Array:
    """Values at places; where the nearest point is not finite, its own.

    Args:
        points: (n, 2), as for `weights`.
        places: (m, 2).
        values: (n, …).
        finite: (n,) which points the others are interpolated from.
    """
    nearest = KDTree(points).query(places)[1]
    found = np.array(values[nearest], dtype=np.float64)
    seen = finite[nearest]
    if seen.any():
        found[seen] = weights(points[finite], places[seen]).of(values[finite])
    return found


def losses_between(points: Array, places: Array, losses: Array, finite: NDArray[np.bool_]) -> Array:
    """Losses of each sample at places; at a point what they are there, to rounding, if above `RIGHT`.

    Args:
        points: (n, 2), as for `weights`.
        places: (m, 2).
        losses: (n, samples) cross-entropies.
        finite: (n,) which points the others are interpolated from.
    """
    with np.errstate(invalid="ignore"):
        known = np.maximum(losses, RIGHT)
        margins = known + np.log(-np.expm1(-known))
        return np.asarray(np.logaddexp(0, interpolated(points, places, margins, finite)))


def _shares(around: Array) -> Array:
    """(places, k): of points (places, k, 2) around each place, which is at 0."""
    x, y = around[..., 0], around[..., 1]
    quadratic = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], -1)
    size, terms = around.shape[1], quadratic.shape[-1]
    system = np.zeros((len(around), size + terms, size + terms))
    system[:, :size, :size] = -(np.linalg.norm(around[:, :, None] - around[:, None], axis=-1) ** POWER)
    system[:, :size, size:] = quadratic
    system[:, size:, :size] = quadratic.transpose(0, 2, 1)
    system[:, range(size, size + terms), range(size, size + terms)] = -EPSILON
    right = np.zeros((len(around), size + terms, 1))
    right[:, :size, 0] = -(np.linalg.norm(around, axis=-1) ** POWER)
    right[:, size, 0] = 1.0
    return np.asarray(np.linalg.solve(system, right)[:, :size, 0])
