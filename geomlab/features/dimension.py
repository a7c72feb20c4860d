"""How many dimensions features fill: by neighbours (TwoNN; LID is in `manifold`), and by the covariance's spectrum.

All are invariant to rotation, translation and scale, but for the spectrum itself, which is of second degree in scale.
"""

import torch
from torch import Tensor

from geomlab.features.manifold import nearest
from geomlab.features.similarity import debiased_hsic
from geomlab.typing import Features, Float, Scalar

DISCARD = 0.1  # share of the largest ratios that the fit leaves out (Facco et al. 2017)


def two_nn(features: Features) -> Scalar:
    """Intrinsic dimension from the ratios μ = r₂/r₁ of the distances to the two nearest samples (Facco et al. 2017).

    Where density is even over those distances F(μ) = 1 − μ^−d: the slope, through the origin, of −log(1 − i/n) on the
    i-th smallest log μ, less the tenth with the largest μ. Others' numbers are of this form of that paper's; the
    maximum likelihood, n/Σ log μ, has the tail in it that this leaves out. scikit-dimension 0.5 fits the same line.

    Equal samples count once, as their distance of 0 has no ratio. It saturates: of many dimensions it reads far fewer.
    It is of the smallest scale there is in the data, and so of n. Its interval is that of `intervals.halved`: the
    jackknife's is 1.5 to 2 times too long, one from the ratios with their neighbours held fixed a fifth too short, as
    two samples that are each other's nearest share a distance (tests/features/test_coverage.py).

    Args:
        features: (n, d), usually of unit length.

    Returns:
        Over 0; NaN if the ratios that are kept are all 1, as on a grid.

    Raises:
        ValueError: if fewer than 10 samples are distinct, of which the fit is no line (ours).
    """
    distinct = features.unique(dim=0)
    require_distinct(len(distinct))
    return two_nn_of(nearest(distinct, 2))


def two_nn_of(near: Float[Tensor, "n k"]) -> Scalar:
    """`two_nn` from the distances of distinct samples to their nearest others.

    Args:
        near: (n, k) ascending, k >= 2, of which two count; n >= 10.

    Raises:
        ValueError: if n < 10.
    """
    n = len(near)
    require_distinct(n)
    kept = int(n * (1 - DISCARD))
    ratio = (near[:, 1] / near[:, 0]).double().log().sort().values[:kept]
    survival = -torch.log1p(-torch.arange(1, kept + 1, dtype=torch.float64, device=ratio.device) / n)
    squares = ratio.square().sum()
    return torch.where(squares > 0, ratio @ survival / squares, torch.nan)


def require_distinct(n: int) -> None:
    """Raise a ValueError if TwoNN has too few samples."""
    if n < 10:
        raise ValueError(f"expected n >= 10 distinct samples, got {n}")


def spectrum(features: Features) -> Float[Tensor, "k"]:
    """(min(n − 1, d),) eigenvalues of the covariance with n − 1, descending, in squared units of the features; PCA's.

    Those below rounding of the largest, about 1e-16 of it, are not accurate. With n not far above d the large ones read
    too large and the small ones too small.

    Args:
        features: (n, d).

    Raises:
        ValueError: if n < 2.
    """
    n, d = features.shape
    if n < 2:
        raise ValueError(f"expected n >= 2 samples, got {n}")
    x = features.double() - features.double().mean(0)
    gram = x @ x.T if n < d else x.T @ x  # of n centred samples, one eigenvalue is 0
    values: Tensor = torch.linalg.eigvalsh(gram).flip(0)[: min(n - 1, d)]
    return values.clamp(min=0) / (n - 1)


def effective_rank(eigenvalues: Float[Tensor, "k"]) -> Scalar:
    """exp(−Σ p log p), p = λ/Σλ, in [1, k] (Roy & Vetterli 2007, who take singular values; of a covariance here, ours).

    A spectrum of few samples is uneven of itself, so it reads too low unless n is far above the rank. NaN if all are 0.

    Args:
        eigenvalues: (k,), none negative, as of `spectrum`.
    """
    entropy: Tensor = torch.special.entr(eigenvalues / eigenvalues.sum()).sum()
    return entropy.exp()


def participation_ratio(features: Features) -> Scalar:
    """(Σλ)²/Σλ² of the covariance's eigenvalues: in [1, d], k where k of them are equal and the others 0.

    Σλ² is without bias (`similarity.debiased_hsic`; ours): that of the sample's spectrum has (Σλ)²/n added, and no
    ratio from it passes n. So of few samples it may come out of its range. NaN for constant features, or if Σλ² comes
    out at 0 or below.

    Args:
        features: (n, d).

    Raises:
        ValueError: if n < 4.
    """
    n = len(features)
    if n < 4:
        raise ValueError(f"expected n >= 4 samples, got {n}")
    x = features.double() - features.double().mean(0)
    trace = x.square().sum() / (n - 1)
    squares = debiased_hsic(x, x)
    return torch.where(squares > 0, trace.square() / squares, torch.nan)
