"""How far classes are apart in two conditions: the terms of Lemma 3.2 (METHOD.md). Everything in fp64.

d_HΔH(D_s, D_t) ≤ 2 L_f Σ_c π_c (‖μ_s^c − μ_t^c‖² + √Tr(Σ_s^c − Σ_t^c)²), the root being the Frobenius norm. That is our
reading: the notes' brackets leave open whether the square is inside the trace; outside it, it is |Tr Σ_s − Tr Σ_t|.

Estimated without bias (ours): put into the formula, sample moments make two draws of one distribution differ by about
Tr Σ (1/n_s + 1/n_t) and by Tr Σ √(1/n_s + 1/n_t), which at ten samples a class is more than most shifts.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from geomlab.features.classes import class_means, counts
from geomlab.typing import Features, Float, Int, Labels, Scalar

LEAST = 4  # samples of a class on each side, for a second moment's square without bias


@dataclass(frozen=True, eq=False)
class Distances:
    """Between two conditions, a class, in squared units of the features.

    Attributes:
        mean: (C,) ‖μ_s − μ_t‖²; NaN below two samples on a side.
        covariance: (C,) √Tr(Σ_s − Σ_t)²; NaN below four.
    """

    mean: Float[Tensor, "classes"]
    covariance: Float[Tensor, "classes"]

    def weighted(self, priors: Float[Tensor, "classes"]) -> Scalar:
        """2 Σ_c π_c (mean + covariance), which L_f times bounds d_HΔH; NaN if a class of π_c > 0 has none.

        Args:
            priors: (C,) π_c, which add up to 1; see `shared_priors`.

        Raises:
            ValueError: if they do not.
        """
        if bool((priors < 0).any()) or abs(float(priors.sum()) - 1) > 1e-6:
            raise ValueError(
                f"expected priors of 0 or more that add up to 1, got a sum of {float(priors.sum()):g}"
            )
        return 2 * torch.where(priors > 0, priors.double() * (self.mean + self.covariance), 0.0).sum()


def class_distances(
    features: Features,
    labels: Labels,
    other: Float[Tensor, "m dim"],
    other_labels: Int[Tensor, "m"],
    classes: int,
    *,
    paired: bool,
) -> Distances:
    """The distances of Lemma 3.2 a class; see the module.

    Squares are unbiased, so they may come out below 0; a root keeps its square's sign (ours), lest noise, cut at 0, add
    up over classes. Invariant to rotation and to one translation of both; of second degree in scale. Where the truth
    is 0 the root is not smooth, and the covariance's interval means nothing.

    Args:
        features: (n, d).
        labels: (n,) in 0 … C−1.
        other: (m, d) of the other condition.
        other_labels: (m,).
        classes: C.
        paired: whether row i of both is of the same sample, as clean and attacked. Their noise is then common.

    Raises:
        ValueError: if a label is none of these, or paired samples differ in their labels.
    """
    mean = mean_distances(features, labels, other, other_labels, classes, paired=paired)
    covariance = torch.full_like(mean, torch.nan)
    enough = torch.minimum(counts(labels, classes), counts(other_labels, classes)) >= LEAST
    for c in enough.nonzero()[:, 0].tolist():
        x, y = features[labels == c].double(), other[other_labels == c].double()
        covariance[c] = signed_root(covariance_distance(x, y, paired=paired))
    return Distances(mean, covariance)


def mean_distances(
    features: Features,
    labels: Labels,
    other: Float[Tensor, "m dim"],
    other_labels: Int[Tensor, "m"],
    classes: int,
    *,
    paired: bool,
) -> Float[Tensor, "classes"]:
    """(C,) ‖μ_s − μ_t‖² of each class without bias: of paired samples that of their differences' mean.

    ‖μ̂_s − μ̂_t‖² less Tr Σ_s/n_s + Tr Σ_t/n_t; of pairs less Tr Cov(s − t)/n. NaN below two samples on a side.

    Args:
        features: (n, d).
        labels: (n,) in 0 … C−1.
        other: (m, d) of the other condition.
        other_labels: (m,).
        classes: C.
        paired: whether row i of both is of the same sample.

    Raises:
        ValueError: if a label is none of these, or paired samples differ in their labels.
    """
    if paired:
        if len(labels) != len(other_labels) or bool((labels != other_labels).any()):
            raise ValueError("expected paired samples to have the same labels in both conditions, got others")
        shift = features.double() - other.double()
        return _squared(class_means(shift, labels, classes), (shift, labels))
    between = class_means(features, labels, classes) - class_means(other, other_labels, classes)
    return _squared(between, (features, labels), (other, other_labels))


def squared_norms(features: Features, labels: Labels, classes: int) -> Float[Tensor, "classes"]:
    """(C,) ‖μ_c‖² without bias, ‖μ̂_c‖² − Tr Σ_c/n_c; NaN below two samples.

    Args:
        features: (n, d).
        labels: (n,) in 0 … C−1.
        classes: C.

    Raises:
        ValueError: if a label is none of these.
    """
    return _squared(class_means(features, labels, classes), (features, labels))


def _squared(means: Float[Tensor, "classes dim"], *noise: tuple[Tensor, Tensor]) -> Float[Tensor, "classes"]:
    """(C,) squared lengths less the variance of the samples' means that they are made of."""
    found = means.square().sum(1)
    for features, labels in noise:
        number = counts(labels, len(means))
        residual = features.double() - class_means(features, labels, len(means))[labels]
        squares = class_means(residual.square().sum(1, keepdim=True), labels, len(means))[:, 0]
        found = found - torch.where(number > 1, squares / (number - 1), torch.nan)
    return found


def covariance_distance(x: Features, y: Float[Tensor, "m dim"], *, paired: bool) -> Scalar:
    """‖Σ_x − Σ_y‖²_F = Tr Σ_x² + Tr Σ_y² − 2 Tr Σ_xΣ_y without bias, of one class.

    The first two are U-statistics (`_product`), as is the last of pairs; of independent samples it is Tr S_xS_y.

    Args:
        x: (n, d), n >= 4.
        y: (m, d), m >= 4, of the same samples if paired.
        paired: whether they are.

    Raises:
        ValueError: if there are fewer.
    """
    if min(len(x), len(y)) < LEAST:
        raise ValueError(f"expected n >= {LEAST} samples on both sides, got {len(x)} and {len(y)}")
    x, y = x - x.mean(0), y - y.mean(0)
    cross = _product(x, y) if paired else _inner(x, y) / ((len(x) - 1) * (len(y) - 1))
    return _product(x, x) + _product(y, y) - 2 * cross


def signed_root(square: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """√|s| with the sign of s: of a square that was estimated without bias, and may be below 0."""
    return square.sign() * square.abs().sqrt()


def _product(x: Features, y: Features) -> Scalar:
    """Tr Σ_xΣ_y of pairs without bias, the mean of ¼⟨x_i − x_j, y_k − y_l⟩² over distinct i, j, k, l.

    With m_i = ⟨x_i, y_i⟩ of centred rows, whose sums over either index of ⟨x_i, y_j⟩ are 0, the sums over distinct
    indices become [(n² − 3n + 1) Σ_ij ⟨x_i, y_j⟩² + Σ_ij ⟨x_i, y_j⟩⟨x_j, y_i⟩ − n(n − 1) Σ m² + (Σ m)²] over
    n(n − 1)(n − 2)(n − 3). For x = y that is the unbiased HSIC (`similarity.debiased_hsic`).
    """
    n = len(x)
    own = (x * y).sum(1)
    gram = x @ y.T if n < x.shape[1] else x.T @ y
    crossed = (gram * gram.T).sum()
    total = (
        (n * n - 3 * n + 1) * _inner(x, y) + crossed - n * (n - 1) * own.square().sum() + own.sum().square()
    )
    return total / (n * (n - 1) * (n - 2) * (n - 3))


def _inner(x: Features, y: Float[Tensor, "m dim"]) -> Scalar:
    """Σ_ij ⟨x_i, y_j⟩², which is ⟨XᵀX, YᵀY⟩."""
    if min(len(x), len(y)) < x.shape[1]:
        return (x @ y.T).square().sum()
    return ((x.T @ x) * (y.T @ y)).sum()


def shared_priors(
    labels: Labels, other_labels: Int[Tensor, "m"], classes: int, least: int = LEAST
) -> Float[Tensor, "classes"]:
    """(C,) π_c, the share of each class among `labels`, of the classes that both sides have `least` samples of.

    Ours: the lemma has one π for both sides, and natural shifts come with fewer classes and other shares. The rest have
    π_c = 0, so the bound is of what both sides have; count them to say so.

    Args:
        labels: (n,) in 0 … C−1.
        other_labels: (m,).
        classes: C.
        least: samples on each side.

    Raises:
        ValueError: if a label is none of these, or no class has so many.
    """
    here, there = counts(labels, classes), counts(other_labels, classes)
    number = torch.where(torch.minimum(here, there) >= least, here, 0).double()
    if not bool(number.any()):
        raise ValueError(f"expected n >= {least} samples of some class on both sides, got fewer of all")
    return number / number.sum()
