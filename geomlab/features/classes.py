"""Class geometry: centroids, which of them turn, and scatter within and between classes. Everything in fp64.

Labels are 0 … C−1, and what is per class is (C,), so that two conditions have the same class in the same place. A class
for which a number is not defined has NaN there.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from geomlab.typing import Features, Float, Int, Labels, Scalar


def counts(labels: Labels, classes: int) -> Int[Tensor, "classes"]:
    """(C,) samples of each class.

    Args:
        labels: (n,) in 0 … C−1.
        classes: C.

    Raises:
        ValueError: if a label is none of these.
    """
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise ValueError(
            f"expected labels in 0 … {classes - 1}, got {int(labels.min())} … {int(labels.max())}: give the number of "
            "classes that both conditions share"
        )
    return torch.bincount(labels, minlength=classes)


def class_means(values: Features, labels: Labels, classes: int) -> Float[Tensor, "classes dim"]:
    """(C, d) the mean of each class, its centroid where the values are features; NaN for a class without samples.

    Moves and turns with the features. Of n_c samples its squared error is Tr Σ_c/n_c in expectation.

    Args:
        values: (n, d).
        labels: (n,) in 0 … C−1.
        classes: C.

    Raises:
        ValueError: if a label is none of these.
    """
    number = counts(labels, classes)
    sums = values.new_zeros(classes, values.shape[1], dtype=torch.float64)
    return sums.index_add_(0, labels, values.double()) / number[:, None]


def centroid_cosines(
    features: Features,
    labels: Labels,
    clean: Float[Tensor, "m dim"],
    clean_labels: Int[Tensor, "m"],
    classes: int,
) -> Float[Tensor, "classes"]:
    """(C,) the cosine between each class's centroid here and on clean inputs, in [−1, 1] (METHOD.md, Table 2).

    Invariant to scale, and to a rotation of both, and not to translation: a mean that classes share keeps it near 1.
    Noise of centroids of few samples lowers it where the conditions are of different ones. NaN for a class that either
    side lacks, or whose centroid is 0.

    Args:
        features: (n, d), usually of unit length.
        labels: (n,) in 0 … C−1.
        clean: (m, d) features of the clean inputs.
        clean_labels: (m,) their classes.
        classes: C.

    Raises:
        ValueError: if a label is none of these.
    """
    here, there = class_means(features, labels, classes), class_means(clean, clean_labels, classes)
    return (F.normalize(here, dim=1, eps=0) * F.normalize(there, dim=1, eps=0)).sum(
        1
    )  # 0/0 of a centroid of 0


def centroid_cosine(
    features: Features, labels: Labels, clean: Float[Tensor, "m dim"], clean_labels: Int[Tensor, "m"]
) -> Scalar:
    """Mean over classes of the cosine between a class's centroid here and on clean inputs (METHOD.md, Table 2).

    Each class counts alike (ours). Classes that lack samples on either side are left out; NaN if all are.

    Args:
        features: (n, d), usually of unit length.
        labels: (n,) classes.
        clean: (m, d) features of the clean inputs.
        clean_labels: (m,) their classes.
    """
    classes = 1 + max((int(side.max()) for side in (labels, clean_labels) if len(side)), default=0)
    return centroid_cosines(features, labels, clean, clean_labels, classes).nanmean()


@dataclass(frozen=True, eq=False)
class Scatter:
    """Spread of features in squared units of them, with each class counted alike (ours): Σ_W = 1/C Σ_c Σ_c.

    Attributes:
        within: (C,) Tr Σ_c of each class; NaN below two samples.
        between: (C,) ‖μ_c − μ_G‖², μ_G the mean of the centroids of the classes where `within` is defined.
    """

    within: Float[Tensor, "classes"]
    between: Float[Tensor, "classes"]

    @property
    def ratio(self) -> Scalar:
        """Tr Σ_W / Tr Σ_B: 0 for collapsed classes; NaN where the centroids are not told apart (Tr Σ_B not positive).

        Invariant to rotation, translation and scale; its bias is of order 1/n.
        """
        between = self.between.nanmean()
        return torch.where(between > 0, self.within.nanmean() / between, torch.nan)


def scatter(features: Features, labels: Labels, classes: int) -> Scatter:
    """Scatter within and between classes, both without bias at any n.

    Tr Σ_c is with n_c − 1. ‖μ̂_c − μ̂_G‖² is less what the noise of C centroids adds to it in expectation, with
    a_c = Tr Σ_c/n_c: (1 − 2/C) a_c + 1/C² Σ a. So of labels at random `between` is 0 in expectation, not Tr Σ/n_c, and
    may come out below. Invariant to rotation and translation; of second degree in scale.

    Args:
        features: (n, d).
        labels: (n,) in 0 … C−1.
        classes: C.

    Raises:
        ValueError: if a label is none of these, or fewer than two classes have two samples.
    """
    number, centres = counts(labels, classes), class_means(features, labels, classes)
    squares = (features.double() - centres[labels]).square().sum(1, keepdim=True)
    within = class_means(squares, labels, classes)[:, 0] * number / (number - 1)
    known = number > 1
    within[~known] = torch.nan
    several = enough_classes(known)
    middle = centres[known].mean(0)
    noise = within / number
    added = (1 - 2 / several) * noise + noise[known].sum() / several**2
    return Scatter(within, (centres - middle).square().sum(1) - added)


def enough_classes(known: Tensor) -> int:
    """How many classes have two samples.

    Raises:
        ValueError: if fewer than two.
    """
    several = int(known.sum())
    if several < 2:
        raise ValueError(f"expected n >= 2 samples in each of two classes or more, got that in {several}")
    return several


def nearest_centres(features: Features, centres: Float[Tensor, "classes dim"]) -> Labels:
    """(n,) the class whose centroid is nearest, by Euclidean distance; one without a centroid never is.

    Args:
        features: (n, d).
        centres: (C, d), NaN for those without.

    Raises:
        ValueError: if no class has a centroid.
    """
    if bool(centres.isnan().any(1).all()):
        raise ValueError("expected the centroid of one class or more, got NaN for all")
    return torch.cdist(features.double(), centres).nan_to_num(nan=torch.inf).argmin(1)
