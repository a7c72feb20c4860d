"""How far features move: by a perturbation of the weights, and by a shift of the inputs (METHOD.md, Table 9).

The sources name what Table 9 compares and not how. Ours: OOD samples have no clean twin, so both are taken of class
centroids, relative to the norm of the clean ones, and without bias, as the noise of unpaired centroids would pass for
OOD shift. Invariant to rotation and scale, and not to translation: the norm is from the features' origin.
"""

import torch
from torch import Tensor

from geomlab.features.discrepancy import mean_distances, signed_root, squared_norms
from geomlab.typing import Features, Float, Int, Labels, Scalar


def sample_shifts(features: Features, clean: Features) -> Float[Tensor, "n"]:
    """(n,) ‖f_i' − f_i‖/‖f_i‖ of each sample, 0 or more; NaN where the clean feature is 0.

    Args:
        features: (n, d) of the same samples, under perturbed weights or attacked.
        clean: (n, d).
    """
    clean = clean.double()
    length = clean.norm(dim=1)
    return torch.where(length > 0, (features.double() - clean).norm(dim=1) / length, torch.nan)


def centroid_shifts(
    features: Features,
    labels: Labels,
    clean: Float[Tensor, "m dim"],
    clean_labels: Int[Tensor, "m"],
    classes: int,
    *,
    paired: bool,
) -> Float[Tensor, "classes"]:
    """(C,) ‖μ' − μ‖/‖μ‖ of each class, from squares without bias; the root keeps the sign of its square.

    NaN below two samples on a side, or where ‖μ‖ is not told from 0.

    Args:
        features: (n, d) of the condition.
        labels: (n,) in 0 … C−1.
        clean: (m, d) of the clean inputs.
        clean_labels: (m,).
        classes: C.
        paired: whether row i of both is of the same sample.

    Raises:
        ValueError: if a label is none of these, or paired samples differ in their labels.
    """
    moved = mean_distances(features, labels, clean, clean_labels, classes, paired=paired)
    return relative(moved, squared_norms(clean, clean_labels, classes))


def relative(moved: Float[Tensor, "classes"], norms: Float[Tensor, "classes"]) -> Float[Tensor, "classes"]:
    """(C,) root of squared moves over squared norms, with the move's sign; NaN where the norm is not told from 0.

    Args:
        moved: (C,) of `discrepancy.mean_distances`.
        norms: (C,) of `discrepancy.squared_norms`.
    """
    return signed_root(moved / torch.where(norms > 0, norms, torch.nan))


def shift_ratio(by_weights: Float[Tensor, "classes"], by_inputs: Float[Tensor, "classes"]) -> Scalar:
    """Mean shift by the weight perturbation over mean shift by the inputs, of the classes that have both.

    Over 1 where the perturbation moves features more than the shift does. NaN if no class has both, or inputs do not
    shift them (a mean of 0 or below).

    Args:
        by_weights: (C,) of `centroid_shifts`, paired.
        by_inputs: (C,) likewise.
    """
    both = ~(by_weights + by_inputs).isnan()
    inputs = by_inputs[both].mean()
    return torch.where(inputs > 0, by_weights[both].mean() / inputs, torch.nan)
