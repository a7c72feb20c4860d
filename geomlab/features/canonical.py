"""Canonical correlations of two representations: how well linear maps of either predict the other."""

import math

import torch
from torch import Tensor

from geomlab.features.similarity import is_constant, require_samples, rounding
from geomlab.typing import Features, Float, Scalar


def svcca(x: Features, y: Float[Tensor, "m other"], *, variance: float = 0.99) -> Scalar:
    """Mean canonical correlation of the principal directions with 99 % of the variance of either (Raghu et al. 2017).

    arXiv 1706.05806: Σρ_i / min(k, k') over the singular values ρ_i of UᵀU', U and U' the k and k' left singular
    vectors that are kept; in [0, 1]. Invariant to orthogonal maps, isotropic scaling and translation of either; and to
    every invertible linear map among the directions kept, so that one with 2 % of the variance counts as one with 90 %.
    It is not debiased: of independent representations the root mean square of ρ is √(max(k, k')/(n − 1)), so only
    values at the same n and widths compare. NaN if either representation is constant to rounding. O(n·d²), and O(n²·d)
    where n is less.

    Args:
        x: (n, d) features; n above the number of directions kept of both together.
        y: (m, d') features of the same samples, m = n.
        variance: share of the variance that the directions kept hold at least (99 % as there).

    Raises:
        ValueError: if the samples differ in number, or are so few that correlations are 1 whatever the features.
    """
    require_samples(x, y, 3)
    if is_constant(x, x.dtype) or is_constant(y, y.dtype):
        return x.new_tensor(math.nan, dtype=torch.float64)
    u, v = _principal(x, variance), _principal(y, variance)
    return _correlations(u, v)[1].mean()


def pwcca(x: Features, y: Float[Tensor, "m other"]) -> Scalar:
    """Canonical correlations weighted by how much of x they account for (Morcos et al. 2018).

    arXiv 1806.05759: Σα_iρ_i / Σα_i with α_i = Σ_j |⟨h_i, x_j⟩|, h_i the unit canonical variates of x and x_j its
    centred columns; in [0, 1] and not symmetric. All directions count that are above rounding. Invariant to every
    invertible linear map of y; of x, to isotropic scaling, translation and permutations of the columns only, since α
    adds absolute values of columns. The bias, the NaN and the cost are those of `svcca`.

    Args:
        x: (n, d) features; n above the ranks of both together.
        y: (m, d') features of the same samples, m = n.

    Raises:
        ValueError: if the samples differ in number, or are so few that correlations are 1 whatever the features.
    """
    require_samples(x, y, 3)
    if is_constant(x, x.dtype) or is_constant(y, y.dtype):
        return x.new_tensor(math.nan, dtype=torch.float64)
    u = _principal(x, 1.0)
    turn, rho = _correlations(u, _principal(y, 1.0))
    x = x.double()
    weights = ((u @ turn).T @ (x - x.mean(0))).abs().sum(1)
    mean: Tensor = (weights * rho).sum() / weights.sum()
    return mean


def _principal(x: Features, variance: float) -> Float[Tensor, "n kept"]:
    """Orthonormal left singular vectors of the centred features: the fewest that hold this share of the variance.

    Those are left out along which the features vary by rounding only, the share of the whole norm that `is_constant`
    has: their directions are no geometry.
    """
    precision, x = x.dtype, x.double()
    u, s, _ = torch.linalg.svd(x - x.mean(0), full_matrices=False)
    held = (s / s[0]).square().cumsum(0)
    enough = int((held < variance * held[-1]).sum()) + 1
    above = int((s > rounding(precision) * x.norm()).sum())
    kept: Tensor = u[:, : min(enough, above)]
    return kept


def _correlations(
    u: Float[Tensor, "n first"], v: Float[Tensor, "n second"]
) -> tuple[Float[Tensor, "first fewer"], Float[Tensor, "fewer"]]:
    """The turn of u into its canonical variates, and their correlations with those of v.

    Both subspaces are orthogonal to the constant, so in n − 1 dimensions: if they have more together they share some,
    whatever the features.
    """
    n, k, m = len(u), u.shape[1], v.shape[1]
    if k + m >= n:
        raise ValueError(
            f"expected n > {k + m} samples for {k} and {m} directions, got {n}: "
            "of fewer, some canonical correlations are 1 whatever the features"
        )
    turn, rho, _ = torch.linalg.svd(u.T @ v, full_matrices=False)
    bounded: Tensor = rho.clamp(max=1)
    return turn, bounded
