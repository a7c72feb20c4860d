"""Similarity of two representations of the same samples. All invariant to rotation, translation and scale of either.

Features come in the precision they were computed in, which says what is rounding (`is_constant`); sums are in fp64.
What is taken over pairs of features or over pairs of samples is taken over whichever are fewer.
"""

import torch
from torch import Tensor

from geomlab.typing import Features, Float, Scalar


def debiased_hsic(x: Features, y: Float[Tensor, "n other"]) -> Scalar:
    """Unbiased estimate of the HSIC of two sets of centred features with linear kernels, at O(n·d·min(n, d)).

    [‖YᵀX‖²_F − n/(n−2)·⟨r_x, r_y⟩ + Σr_x Σr_y/((n−1)(n−2))] / (n(n−3)), r the squared row norms: the estimator of Song
    et al. 2012 in the feature form of Kornblith et al. (their code, `_debiased_dot_product_similarity_helper`).

    Args:
        x: (n, d) centred, fp64, n >= 4.
        y: (n, d') likewise.
    """
    n = len(x)
    rx, ry = x.square().sum(1), y.square().sum(1)
    total = _inner(x, y) - n / (n - 2) * (rx @ ry) + rx.sum() * ry.sum() / ((n - 1) * (n - 2))
    return total / (n * (n - 3))


def cka(x: Features, y: Float[Tensor, "m other"]) -> Scalar:
    """Debiased linear centred kernel alignment (Kornblith et al. 2019; debiased as in Nguyen et al. 2021).

    1 for representations equal up to rotation and scale; 0 in expectation for independent ones, at any n and d, so it
    may come out a little below 0. NaN if either representation is constant to rounding (`is_constant`).

    Args:
        x: (n, d) features, n >= 4.
        y: (m, d') features of the same samples, m = n.

    Raises:
        ValueError: if n < 4 or the samples differ in number.
    """
    if len(x) != len(y) or len(x) < 4:
        raise ValueError(f"expected the same n >= 4 samples in both, got {len(x)} and {len(y)}")
    x, y = _shape(x), _shape(y)
    product = debiased_hsic(x, x) * debiased_hsic(y, y)
    return debiased_hsic(x, y) / product.sqrt() if product > 0 else product.new_tensor(float("nan"))


def gram_drift(x: Features, reference: Float[Tensor, "n other"]) -> Scalar:
    """‖K − K₀‖_F / ‖K₀‖_F of the centred Gram matrices, each divided by its trace; at O(n·d·min(n, d)).

    0 for representations equal up to rotation and scale. In contrast to CKA it grows when one direction takes over. It
    is not debiased: for independent representations it grows with n (d = 64: 0.93 at n = 50, 1.37 at n = 1,000), so
    only values at the same n may be compared. NaN if either representation is constant to rounding (`is_constant`).

    Args:
        x: (n, d) features.
        reference: (n, d') features of the same samples, those of K₀.
    """
    x, y = _shape(x), _shape(reference)  # ‖X‖²_F is the trace of XXᵀ
    xx, yy, xy = _inner(x, x), _inner(y, y), _inner(x, y)
    squared: Tensor = (xx + yy - 2 * xy).clamp(min=0) / yy
    return squared.sqrt()


def procrustes(x: Features, y: Float[Tensor, "n other"]) -> Scalar:
    """Orthogonal Procrustes distance, min over orthogonal Q of ‖X − YQ‖²_F, of centred features of unit norm.

    2 − 2‖YᵀX‖_* in [0, 2]; 0 for equal shapes (Ding et al. 2021, arXiv 2108.01661, eq. 4). At O(n²·d + n³) where
    n < d. NaN if either representation is constant to rounding (`is_constant`).

    Args:
        x: (n, d) features.
        y: (n, d') features of the same samples.
    """
    product = _triangle(_shape(y)).T @ _triangle(_shape(x))
    if bool(product.isnan().any()):  # of which there is no singular value decomposition
        return product.new_tensor(float("nan"))
    nuclear: Tensor = torch.linalg.svdvals(product).sum()
    return (2 - 2 * nuclear).clamp(min=0)


def _inner(x: Features, y: Float[Tensor, "n other"]) -> Scalar:
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


def is_constant(x: Features, precision: torch.dtype) -> bool:
    """Whether features vary by no more than rounding: centred, they have at most this share of their norm.

    1e-13 where the network computed in fp64, else 1e-5: some hundred roundings of either (84 ε in fp32, 450 ε in fp64;
    ours), as deep networks accumulate them. The share does not depend on the features' scale, and a mean of up to 10⁵
    (10¹³) times the spread leaves them features.

    Args:
        x: (n, d) features.
        precision: in which they were computed.
    """
    x = x.double()
    limit = 1e-13 if precision == torch.float64 else 1e-5
    return not bool((x - x.mean(0)).norm() > limit * x.norm())


def _shape(x: Features) -> Features:
    """Centred features of unit norm, in fp64; NaN for constant ones, of which centring leaves no more than rounding."""
    centred = x.double() - x.double().mean(0)
    return torch.full_like(centred, torch.nan) if is_constant(x, x.dtype) else centred / centred.norm()
