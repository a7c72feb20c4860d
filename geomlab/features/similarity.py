"""Similarity of two representations of the same samples. All invariant to rotation, translation and scale of either.

Features come in the precision they were computed in, which says what is rounding (`is_constant`); sums are in fp64.
What is taken over pairs of features or over pairs of samples is taken over whichever are fewer.
"""

import math

import torch
from torch import Tensor

from geomlab.typing import Features, Float, Scalar


def debiased_hsic(x: Features, y: Float[Tensor, "n other"]) -> Scalar:
    """Unbiased estimate of the HSIC of two sets of centred features with linear kernels, at O(n·d·min(n, d)).

    Args:
        x: (n, d) centred, fp64, n >= 4.
        y: (n, d') likewise.
    """
    rx, ry = x.square().sum(1), y.square().sum(1)
    return hsic_of_sums(len(x), inner(x, y), rx @ ry, rx.sum(), ry.sum())


def hsic_of_sums(
    n: int,
    product: Float[Tensor, "*pairs"],
    norms: Float[Tensor, "*pairs"],
    trace_x: Float[Tensor, "*#pairs"],
    trace_y: Float[Tensor, "*#pairs"],
) -> Float[Tensor, "*pairs"]:
    """[‖YᵀX‖²_F − n/(n−2)·⟨r_x, r_y⟩ + Σr_x Σr_y/((n−1)(n−2))] / (n(n−3)), r the squared row norms.

    The estimator of Song et al. 2012 (eq. 4) in the feature form of Kornblith et al. (their code,
    `_debiased_dot_product_similarity_helper`).

    Args:
        n: samples, at least 4.
        product: ‖YᵀX‖²_F of centred features, of one or of many pairs.
        norms: ⟨r_x, r_y⟩.
        trace_x: Σr_x.
        trace_y: Σr_y.
    """
    total = product - n / (n - 2) * norms + trace_x * trace_y / ((n - 1) * (n - 2))
    return total / (n * (n - 3))


def cka(x: Features, y: Float[Tensor, "m other"], *, debias: bool = True) -> Scalar:
    """Linear centred kernel alignment (Kornblith et al. 2019, sec. 3; debiased as in Nguyen et al. 2021).

    1 for representations equal up to rotation and scale; 0 in expectation for independent ones, at any n and d, so it
    may come out a little below 0. NaN if either representation is constant to rounding (`is_constant`).

    Args:
        x: (n, d) features, n >= 4.
        y: (m, d') features of the same samples, m = n.
        debias: False gives ‖YᵀX‖²_F / (‖XᵀX‖_F ‖YᵀY‖_F), as in most of the literature, in [0, 1]: of independent
            Gaussians that is about d/(n + d), not 0.

    Raises:
        ValueError: if n < 4 or the samples differ in number.
    """
    require_samples(x, y, 4)
    x, y = preshape(x), preshape(y)
    hsic = debiased_hsic if debias else inner
    return alignment(hsic(x, y), hsic(x, x), hsic(y, y))


def alignment(
    xy: Float[Tensor, "*pairs"], xx: Float[Tensor, "*#pairs"], yy: Float[Tensor, "*#pairs"]
) -> Float[Tensor, "*pairs"]:
    """⟨x, y⟩/√(⟨x, x⟩⟨y, y⟩), NaN where an estimate of the squares is not positive; the product may overflow."""
    norms = torch.where(xx > 0, xx, torch.nan).sqrt() * torch.where(yy > 0, yy, torch.nan).sqrt()
    return xy / norms


def gram_drift(x: Features, reference: Float[Tensor, "m other"]) -> Scalar:
    """‖K − K₀‖_F / ‖K₀‖_F of the centred Gram matrices, each divided by its trace; at O(n·d·min(n, d)).

    0 for representations equal up to rotation and scale. In contrast to CKA it grows when one direction takes over. It
    is not debiased: for independent representations it grows with n (d = 64: 0.93 at n = 50, 1.37 at n = 1,000), so
    only values at the same n may be compared. NaN if either representation is constant to rounding (`is_constant`).

    Args:
        x: (n, d) features, n >= 3: of two samples, all Gram matrices are alike.
        reference: (m, d') features of the same samples, those of K₀, m = n.

    Raises:
        ValueError: if n < 3 or the samples differ in number.
    """
    require_samples(x, reference, 3)
    x, y = preshape(x), preshape(reference)  # ‖X‖²_F is the trace of XXᵀ
    xx, yy, xy = inner(x, x), inner(y, y), inner(x, y)
    squared: Tensor = (xx + yy - 2 * xy).clamp(min=0) / yy
    return squared.sqrt()


def procrustes(x: Features, y: Float[Tensor, "m other"]) -> Scalar:
    """Orthogonal Procrustes distance, min over orthogonal Q of ‖X − YQ‖²_F, of centred features of unit norm.

    2 − 2‖YᵀX‖_* in [0, 2]; 0 for equal shapes (Ding et al. 2021, arXiv 2108.01661, eq. 4). Its root is a metric, it is
    not. At O(n²·d + n³) where n < d. NaN if either representation is constant to rounding (`is_constant`).

    Args:
        x: (n, d) features, n >= 3.
        y: (m, d') features of the same samples, m = n.

    Raises:
        ValueError: if n < 3 or the samples differ in number.
    """
    return (2 - 2 * _nuclear(x, y)).clamp(min=0)


def angular_distance(x: Features, y: Float[Tensor, "m other"]) -> Scalar:
    """Angular shape distance, arccos ‖YᵀX‖_* of centred features of unit norm: a metric on shapes, in [0, π/2].

    Williams et al. 2021 (arXiv 2110.14739, Proposition 1 of the orthogonal group). Invariant to orthogonal maps,
    isotropic scaling and translation of either; the triangle inequality holds also between different widths, since
    columns of zeros change nothing. Below 1e-7 it is rounding: arccos is steep there. Cost and NaN as `procrustes`.

    Args:
        x: (n, d) features, n >= 3.
        y: (m, d') features of the same samples, m = n.

    Raises:
        ValueError: if n < 3 or the samples differ in number.
    """
    return _nuclear(x, y).clamp(max=1).arccos()


def _nuclear(x: Features, y: Float[Tensor, "m other"]) -> Scalar:
    """‖YᵀX‖_* of the preshapes: the largest ⟨X, YQ⟩ over orthogonal Q."""
    require_samples(x, y, 3)
    product = _triangle(preshape(y)).T @ _triangle(preshape(x))
    if bool(product.isnan().any()):  # of which there is no singular value decomposition
        return product.new_tensor(math.nan)
    nuclear: Tensor = torch.linalg.svdvals(product).sum()
    return nuclear


def inner(x: Features, y: Float[Tensor, "n other"]) -> Scalar:
    """‖YᵀX‖²_F, which is ⟨XXᵀ, YYᵀ⟩."""
    if len(x) < min(x.shape[1], y.shape[1]):
        return ((x @ x.T) * (y @ y.T)).sum()
    return (y.T @ x).square().sum()


def _triangle(x: Features) -> Float[Tensor, "n fewer"]:
    """(n, min(n, d)): x turned into as few coordinates as it has samples, Xᵀ = QR, X = RᵀQᵀ, which leaves ‖YᵀX‖_*."""
    if len(x) >= x.shape[1] or bool(x.isnan().any()):
        return x
    triangle: Tensor = torch.linalg.qr(x.T, mode="r").R
    return triangle.T


def require_samples(x: Features, y: Float[Tensor, "m other"], least: int) -> None:
    """Raise a ValueError unless both are features of the same number of samples, at least `least`."""
    if len(x) != len(y) or len(x) < least:
        raise ValueError(f"expected the same n >= {least} samples in both, got {len(x)} and {len(y)}")


def rounding(precision: torch.dtype) -> float:
    """The share of the features' norm that is rounding: 1e-13 where the network computed in fp64, 1e-5 in fp32.

    Some hundred roundings of either (84 ε in fp32, 450 ε in fp64; ours), as deep networks accumulate them. 1e-3 in half
    precision, to which features are rounded once, in files: 2 of its roundings.
    """
    return {torch.float64: 1e-13, torch.float16: 1e-3}.get(precision, 1e-5)


def is_constant(x: Features, precision: torch.dtype) -> bool:
    """Whether features vary by no more than rounding: centred, they have at most that share of their norm.

    The share does not depend on the features' scale, and a mean of up to 10⁵ (10¹³) times the spread leaves them
    features.

    Args:
        x: (n, d) features.
        precision: in which they were computed.
    """
    x = x.double()
    return not bool((x - x.mean(0)).norm() > rounding(precision) * x.norm())


def preshape(x: Features) -> Features:
    """Centred features of unit norm, in fp64 (Kendall 1984); NaN for constant ones, where centring leaves rounding."""
    centred = x.double() - x.double().mean(0)
    return torch.full_like(centred, torch.nan) if is_constant(x, x.dtype) else centred / centred.norm()
