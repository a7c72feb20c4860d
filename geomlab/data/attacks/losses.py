"""What attacks raise, for each sample: of logits z, label y and target t."""

import torch
from torch import Tensor
from torch.nn import functional as F

from geomlab.typing import Features, Float, Labels, Logits

_LEAST = 1e-12  # of the DLR's denominator: equal logits give 0 and not NaN; ours


def cross_entropy(logits: Logits, labels: Labels) -> Float[Tensor, "n"]:
    """−log softmax(z)_y (n,), in nats."""
    return F.cross_entropy(logits, labels, reduction="none")


def targeted_cross_entropy(logits: Logits, labels: Labels, targets: Labels) -> Float[Tensor, "n"]:
    """log softmax(z)_t (n,), in nats."""
    del labels
    return -F.cross_entropy(logits, targets, reduction="none")


def dlr(logits: Logits, labels: Labels) -> Float[Tensor, "n"]:
    """Difference of logits ratio −(z_y − max_{i≠y} z_i) / (z_(1) − z_(3)) (n,), z_(1) ≥ z_(2) ≥ …

    It changes with neither shift nor scale of the logits (Croce & Hein 2020, eq. 6). Of at least 3 classes.
    """
    largest = logits.topk(3, dim=1).values
    other = logits.scatter(1, labels[:, None], -torch.inf).amax(dim=1)
    return (other - _of(logits, labels)) / (largest[:, 0] - largest[:, 2]).clamp(min=_LEAST)


def targeted_dlr(logits: Logits, labels: Labels, targets: Labels) -> Float[Tensor, "n"]:
    """−(z_y − z_t) / (z_(1) − (z_(3) + z_(4)) / 2) (n,) (Croce & Hein 2020, eq. 7). Of at least 4 classes."""
    largest = logits.topk(4, dim=1).values
    scale = largest[:, 0] - (largest[:, 2] + largest[:, 3]) / 2
    return (_of(logits, targets) - _of(logits, labels)) / scale.clamp(min=_LEAST)


def squared_distances(features: Features, reference: Features) -> Float[Tensor, "n"]:
    """‖φ − φ_ref‖² (n,), summed over the dimensions and not normalised (FARE: Schlarmann et al. 2024, eq. 3)."""
    return (features - reference).square().sum(dim=1)


def _of(logits: Logits, classes: Labels) -> Float[Tensor, "n"]:
    return logits.gather(1, classes[:, None]).squeeze(1)
