"""Whether samples have the same nearest neighbours in two representations."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from geomlab.features.similarity import is_constant, require_samples
from geomlab.typing import Features, Float, Int, Scalar

_ROWS = 1024  # rows of the similarity matrix at a time


def mutual_knn(x: Features, y: Float[Tensor, "m other"], *, k: int = 10) -> Scalar:
    """Mean share of the k nearest neighbours that a sample has in both representations (Huh et al. 2024).

    arXiv 2405.07987, app. A. Nearest is the largest cosine, the smallest Euclidean distance of features of unit length.
    In [0, 1]; k/(n − 1) for independent representations, so only values at the same n and k compare. Invariant to
    orthogonal maps and scaling, even of each sample by itself, of either, but not to translation: the origin counts.
    Features of 0 have no direction, and such samples, in either, are left out. NaN if either representation is constant
    to rounding, or too few samples are left. Ties are broken as they come. O(n²(d + d')) time by brute force, O(n)
    memory.

    The bootstrap biases it upwards: a sample drawn twice is its own nearest neighbour in both.

    Args:
        x: (n, d) features, n >= k + 2: of k + 1, all others are neighbours.
        y: (m, d') features of the same samples, m = n.
        k: neighbours, 10 as in their code (`mutual_knn`).

    Raises:
        ValueError: if n < k + 2, or the samples differ in number.
    """
    require_samples(x, y, k + 2)
    directed = (x != 0).any(1) & (y != 0).any(1)
    if is_constant(x, x.dtype) or is_constant(y, y.dtype) or int(directed.sum()) < k + 2:
        return x.new_tensor(math.nan, dtype=torch.float64)
    # By their largest entry first: `normalize` takes lengths below 1e-12 for none.
    x, y = ((f := side[directed].double()) / f.abs().amax(1, keepdim=True) for side in (x, y))
    x, y = F.normalize(x, dim=1), F.normalize(y, dim=1)
    common = 0
    for start in range(0, len(x), _ROWS):
        here, there = _nearest(x, start, k), _nearest(y, start, k)
        common += int(_common(here, there).sum())
    return x.new_tensor(common / (k * len(x)))


def shared(here: Int[Tensor, "m k"], there: Int[Tensor, "m k"]) -> Float[Tensor, "m"]:
    """(m,) share of each sample's neighbours that are the same in both.

    Args:
        here: (m, k) indices of neighbours.
        there: (m, k) of other neighbours of the same samples.
    """
    parts = zip(here.split(_ROWS), there.split(_ROWS), strict=True)
    return torch.cat([_common(*pair) for pair in parts]).double() / here.shape[1]


def _common(here: Int[Tensor, "m k"], there: Int[Tensor, "m k"]) -> Int[Tensor, "m"]:
    """How many neighbours are the same in both."""
    count: Tensor = (here[:, :, None] == there[:, None, :]).sum((1, 2))
    return count


def _nearest(x: Features, start: int, k: int) -> Int[Tensor, "rows k"]:
    """The k nearest others of some rows of unit length."""
    cosines = x[start : start + _ROWS] @ x.T
    cosines.diagonal(start).fill_(-torch.inf)  # a sample is not its own neighbour
    return cosines.topk(k, dim=1).indices
