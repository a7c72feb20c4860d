"""The loss on a line or a plane through a point. Inputs stay as they were realised at the centre."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from geomlab.data.batches import Batches
from geomlab.risk import sample_losses
from geomlab.subject import Subject
from geomlab.typing import Float, Params


@dataclass(frozen=True, eq=False)
class Slice:
    """Losses at points of a slice, one row a point.

    Attributes:
        loss: (points,) mean cross-entropy, fp64; not finite where the network overflows.
        stderr: (points,) its standard error over samples.
        accuracy: (points,) fraction correct.
    """

    loss: Float[Tensor, "points"]
    stderr: Float[Tensor, "points"]
    accuracy: Float[Tensor, "points"]


def evaluate(
    subject: Subject,
    batches: Batches,
    directions: Sequence[Params],
    coordinates: Float[Tensor, "points axes"],
) -> Slice:
    """Loss and accuracy at θ + Σ_a coordinate_a · direction_a. The subject is not changed.

    Args:
        subject: the centre θ.
        batches: the inputs, the same at every point.
        directions: one a column of `coordinates`; all move the same parameters.
        coordinates: points, in units of the directions.
    """
    rows = []
    for point in coordinates.tolist():
        weights = {
            name: subject.weights[name] + sum(c * d[name] for c, d in zip(point, directions, strict=True))
            for name in directions[0]
        }
        found = sample_losses(subject, batches, weights)
        losses = found.loss.double()
        spread = losses.std() if len(losses) > 1 else losses.new_tensor(float("nan"))
        rows.append(
            torch.stack([losses.mean(), spread / len(losses) ** 0.5, found.correct.double().mean()]).cpu()
        )
    return Slice(*torch.stack(rows).unbind(1))
