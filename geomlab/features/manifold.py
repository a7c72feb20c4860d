"""Shape of the feature manifold: local dimension, volume between views."""

import torch
from torch import Tensor
from torch.nn import functional as F

from geomlab.typing import Features, Float

_ROWS = 1024  # rows of the distance matrix at a time


def lid(features: Features, k: int = 20) -> Float[Tensor, "n"]:
    """Local intrinsic dimension at each sample by maximum likelihood, −[1/k Σ_{i≤k} log(r_i/r_k)]⁻¹.

    Amsaleg et al. 2015 (the sum runs over k terms, the last of which is 0), on Euclidean distances r_i to the nearest
    other samples. Distances of 0 (duplicates) are left out; NaN where fewer than two distinct ones remain.

    Args:
        features: (n, d), usually of unit length.
        k: neighbours, less than n.

    Raises:
        ValueError: if k is not less than n.
    """
    if not 1 < k < len(features):
        raise ValueError(f"expected 1 < k < n, got k = {k} and n = {len(features)}")
    return lid_of(nearest(features, k))


def lid_of(near: Float[Tensor, "n k"]) -> Float[Tensor, "n"]:
    """`lid` from the distances to the nearest other samples.

    Args:
        near: (n, k), ascending.
    """
    positive = near > 0
    ratio = torch.where(positive, (near / near[:, -1:]).log(), 0.0)
    dimension = -positive.sum(1) / ratio.sum(1)
    return torch.where(torch.isfinite(dimension), dimension, torch.nan)


def nearest(features: Features, k: int) -> Float[Tensor, "n k"]:
    """(n, k) Euclidean distances of each sample to its nearest others, ascending, at O(n²·d) and a block at a time.

    Args:
        features: (n, d).
        k: neighbours, less than n.

    Raises:
        ValueError: if k is not less than n.
    """
    if not 0 < k < len(features):
        raise ValueError(f"expected 0 < k < n, got k = {k} and n = {len(features)}")
    found = []
    for start in range(0, len(features), _ROWS):
        block = features[start : start + _ROWS]
        distance = torch.cdist(block, features, compute_mode="donot_use_mm_for_euclid_dist")
        rows = torch.arange(len(block))
        distance[rows, start + rows] = torch.inf  # a sample is not its own neighbour
        found.append(distance.topk(k, largest=False, sorted=True).values)
    return torch.cat(found)


def gram_volume(first: Features, second: Features, third: Features) -> Float[Tensor, "n"]:
    """√|det G| of each sample's three unit feature vectors, G_jk = ⟨f_j, f_k⟩ (METHOD.md eq. 8-9, without ε).

    The volume of the parallelepiped they span, in [0, 1]. It is 0 as soon as two of the three coincide.

    Args:
        first: (n, d) features of one view, for example the clean one.
        second: (n, d) of another, for example the attacked one.
        third: (n, d) of the last, for example under perturbed weights.
    """
    views = torch.stack([F.normalize(view.double(), dim=1) for view in (first, second, third)], dim=1)
    determinant: Tensor = torch.linalg.det(views @ views.transpose(1, 2))
    return determinant.abs().sqrt()
