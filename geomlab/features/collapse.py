"""Neural collapse of classes (Papyan, Han & Donoho 2020, arXiv 2008.08186). Everything in fp64.

Over the classes that have two samples or more, each counted alike as in its balanced data (ours); C is their number and
μ_G the mean of their centroids.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from geomlab.features.classes import class_means, counts, enough_classes, nearest_centres
from geomlab.typing import Bool, Features, Float, Labels, Scalar


@dataclass(frozen=True, eq=False)
class Collapse:
    """How far classes are from their centroids, and these from a simplex; all are 0 at collapse.

    Attributes:
        nc1: Tr(Σ_W Σ_B⁺)/C, Σ_W = 1/C Σ_c 1/n_c Σ_i (f_i − μ_c)(f_i − μ_c)ᵀ, Σ_B = 1/C Σ_c (μ_c − μ_G)(μ_c − μ_G)ᵀ;
            NaN if all centroids coincide.
        norms: NC2, equinorm: Std_c ‖μ_c − μ_G‖ / Avg_c ‖μ_c − μ_G‖.
        angles: NC2, equiangularity: Std over pairs of classes of the cosine between μ_c − μ_G and μ_c' − μ_G.
        simplex: NC2, maximal angles: Avg over pairs of |cosine + 1/(C − 1)|.
        classes: C, those with two samples.
    """

    nc1: Scalar
    norms: Scalar
    angles: Scalar
    simplex: Scalar
    classes: int


def collapse(features: Features, labels: Labels, classes: int) -> Collapse:
    """NC1 and NC2 of features, as that paper's figures 2, 3, 4 and 6 have them. Standard deviations are with 1/n.

    Invariant to rotation, translation and scale. NC1 lies in [0, ∞), the two of cosines in [0, 2]. Centroids of few
    samples are noisy, and Σ_B has that noise in it: NC1 of classes that do not differ is not ∞ but in proportion to
    their n_c, n_c (C − 1)/(d − C) of isotropic noise, so only values at the same n_c may be compared. With d < C − 1 no
    simplex exists, and NC2 cannot reach 0. NaN in NC2 for a centroid at μ_G, which has no direction. With two classes
    NC2's two of cosines are 0 whatever they are.

    NC1 is a positive ratio with a long upper tail: take the interval of its logarithm (`intervals.exponential`).

    Args:
        features: (n, d).
        labels: (n,) in 0 … `classes` − 1.
        classes: of the labels.

    Raises:
        ValueError: if a label is none of these, or fewer than two classes have two samples.
    """
    known = counts(labels, classes) > 1
    several = enough_classes(known)
    centres = class_means(features, labels, classes)
    middle = centres[known].mean(0)
    arms = centres[known] - middle
    length = arms.norm(dim=1)
    direction = arms / length[:, None]
    cosine = (direction @ direction.T)[torch.triu_indices(several, several, 1).unbind()]
    kept = known[labels]
    residual = features[kept].double() - centres[labels[kept]]
    return Collapse(
        _variability(residual, labels[kept], arms, features.dtype),
        length.std(correction=0) / length.mean(),
        cosine.std(correction=0),
        (cosine + 1 / (several - 1)).abs().mean(),
        several,
    )


def _variability(
    residual: Features, labels: Labels, arms: Float[Tensor, "known dim"], precision: torch.dtype
) -> Scalar:
    """Tr(Σ_W Σ_B⁺)/C without a (d, d) matrix.

    With centred centroids M = U S Vᵀ, Σ_B⁺ = C V S⁻² Vᵀ, so it is 1/C Σ_c 1/n_c Σ_i ‖S⁻¹ Vᵀ(f_i − μ_c)‖².
    """
    _, values, axes = torch.linalg.svd(arms, full_matrices=False)
    # C centred centroids span C − 1 axes at most, and fewer where some coincide to rounding.
    rounding = max(arms.shape) * torch.finfo(precision).eps * values.max()
    rank = min(int((values > rounding).sum()), len(arms) - 1)
    if not rank:
        return arms.new_tensor(torch.nan)
    squares = (residual @ axes[:rank].T / values[:rank]).square().sum(1, keepdim=True)
    return class_means(squares, labels, int(labels.max()) + 1).nanmean()


def self_duality(centres: Float[Tensor, "classes dim"], weight: Float[Tensor, "classes dim"]) -> Scalar:
    """NC3, ‖W/‖W‖_F − M/‖M‖_F‖²_F in [0, 4], M and W the centroids and class weights less their means.

    Centring W is ours: a vector common to all classes changes no prediction, and in that paper weight decay removes it;
    in a zero-shot classifier it is most of W. Classes without a centroid are left out. Invariant to a rotation of both,
    and to scale and translation of either. NaN if all centroids, or all weights, coincide.

    Args:
        centres: (C, d), NaN for those without.
        weight: (C, d) of the classifier, in the same order.

    Raises:
        ValueError: if fewer than two classes have a centroid.
    """
    known = ~centres.isnan().any(1)
    if int(known.sum()) < 2:
        raise ValueError(f"expected the centroids of two classes or more, got {int(known.sum())}")
    means, rows = (side[known].double() - side[known].double().mean(0) for side in (centres, weight))
    apart: Tensor = rows / rows.norm() - means / means.norm()
    return apart.square().sum()


def agreements(
    features: Features, predictions: Labels, centres: Float[Tensor, "classes dim"]
) -> Bool[Tensor, "n"]:
    """(n,) whether the network gives a sample the class with the nearest centroid, of which NC4 is the share.

    It is 1 at collapse; that paper plots 1 less it. It is a proportion of n (`stats.wilson`). Centroids taken of the
    same samples flatter it: give those of others, as training samples'.

    Args:
        features: (n, d).
        predictions: (n,) the network's classes.
        centres: (C, d), NaN for those without.

    Raises:
        ValueError: if there are no samples, or no class has a centroid.
    """
    if not len(features):
        raise ValueError("expected n >= 1 samples, got 0")
    same: Tensor = nearest_centres(features, centres) == predictions
    return same
