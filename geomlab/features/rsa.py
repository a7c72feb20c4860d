"""Representational similarity analysis: whether the same pairs of samples are far apart."""

import math

import torch
from scipy import stats
from torch import Tensor

from geomlab.features.kernel import squared_distances
from geomlab.features.similarity import preshape, require_samples
from geomlab.typing import Features, Float, Scalar


def rsa(x: Features, y: Float[Tensor, "m other"]) -> Scalar:
    """Spearman correlation of the n(n−1)/2 dissimilarities of pairs (Kriegeskorte et al. 2008).

    The dissimilarity is the Euclidean distance, for its invariance: to orthogonal maps, isotropic scaling and
    translation, as the other measures here. The original's 1 − correlation of two patterns is not invariant to
    orthogonal maps of the features. In [−1, 1]; being of ranks, 1 also for any monotone change of all distances. 0 in
    expectation for independent representations. NaN if either is constant to rounding, or has all distances equal.
    O(n²(d + log n)) time, O(n²) memory: some thousand samples.

    The bootstrap biases it upwards: a sample drawn twice is at distance 0 from itself in both.

    Args:
        x: (n, d) features, n >= 4: three samples have but three distances.
        y: (m, d') features of the same samples, m = n.

    Raises:
        ValueError: if n < 4 or the samples differ in number.
    """
    require_samples(x, y, 4)
    if bool(preshape(x).isnan().any() | preshape(y).isnan().any()):
        return x.new_tensor(math.nan, dtype=torch.float64)
    a, b = (_ranks(f) for f in (x, y))
    a, b = a - a.mean(), b - b.mean()
    correlation: Tensor = (a @ b) / (a.norm() * b.norm())
    return correlation


def _ranks(x: Features) -> Float[Tensor, "pairs"]:
    """Mean ranks of the distances of pairs, which are those of their squares.

    Squares closer than 1e-10 of their mean, 2/(n − 1) of a preshape, count as equal: rounding must not break ties.
    """
    n = len(x)
    rows, columns = torch.triu_indices(n, n, offset=1)
    squares = squared_distances(preshape(x))[rows, columns]
    steps = (squares * ((n - 1) / 2 * 1e10)).round()
    return torch.from_numpy(stats.rankdata(steps.cpu().numpy()))
