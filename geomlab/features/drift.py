"""Where the Gram matrix has changed: sample by sample, and within each class."""

import math

import torch
from torch import Tensor

from geomlab.features.similarity import gram_drift, inner, preshape, require_samples
from geomlab.typing import Features, Float, Labels


def gram_drift_of_samples(x: Features, reference: Float[Tensor, "m other"]) -> Float[Tensor, "n"]:
    """‖(K − K₀)_i‖ / ‖K₀‖_F, the rows of the centred Gram matrices of trace 1: each sample's share of the drift (ours).

    The squares sum to `gram_drift`², with its invariances: orthogonal maps, isotropic scaling and translation of all
    samples. It tells whose relations to all others have changed, and a sample that alone has moved changes a little of
    every row. In [0, gram_drift]. All NaN if either representation is constant to rounding. O(n·(d + d')²), and
    O(n²·(d + d')) where n is less.

    Args:
        x: (n, d) features, n >= 3.
        reference: (m, d') features of the same samples, those of K₀, m = n.

    Raises:
        ValueError: if n < 3 or the samples differ in number.
    """
    require_samples(x, reference, 3)
    x, y = preshape(x), preshape(reference)
    both = torch.cat([x, y], dim=1)
    if bool(both.isnan().any()):
        return x.new_full((len(x),), math.nan)
    # K − K₀ = ZW of Z = (X, Y) and W = (X, −Y)ᵀ, and Z = QR: a row Wᵀ_iZᵀ is as long as Wᵀ_iRᵀ, without a difference.
    triangle = torch.linalg.qr(both, mode="r").R
    rows = torch.cat([x, -y], dim=1) @ triangle.T
    share: Tensor = rows.norm(dim=1) / inner(y, y).sqrt()
    return share


def gram_drift_of_classes(
    x: Features, reference: Float[Tensor, "m other"], labels: Labels, classes: int
) -> Float[Tensor, "classes"]:
    """`gram_drift` among the samples of each class: centred within the class and divided by its own trace.

    So it is how the class's own shape has bent, in whatever place and size: invariant to orthogonal maps, isotropic
    scaling and translation of each class. NaN for classes of fewer than 3 samples, of which all Gram matrices are
    alike, and for those that are constant to rounding. It grows with the class's number of samples, as does
    `gram_drift`, so classes of different sizes do not compare. O(n·d·min(n, d)).

    Args:
        x: (n, d) features.
        reference: (m, d') features of the same samples, m = n.
        labels: (n,) classes.
        classes: their number.

    Raises:
        ValueError: if the samples differ in number.
    """
    require_samples(x, reference, 1)
    found = x.new_full((classes,), math.nan, dtype=torch.float64)
    for label, count in enumerate(torch.bincount(labels, minlength=classes).tolist()[:classes]):
        if count >= 3:
            members = labels == label
            found[label] = gram_drift(x[members], reference[members])
    return found
