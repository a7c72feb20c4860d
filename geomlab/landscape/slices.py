"""The loss on a line or a plane through a point, under one or several conditions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from geomlab.data.batches import Batches
from geomlab.errors import NotFinite
from geomlab.risk import sample_losses
from geomlab.stats import Array, group_of
from geomlab.subject import Subject
from geomlab.typing import Float, Params

SMALL = 1 << 17  # entries of a parameter that is moved together with others: ours


@dataclass(frozen=True, eq=False)
class Slice:
    """Losses at points of a slice under one condition, one row a point.

    Attributes:
        loss: (points,) mean cross-entropy, fp64; not finite where the network overflows.
        stderr: (points,) its standard error over samples.
        accuracy: (points,) fraction correct.
        group_loss: (points, groups) the mean over each of some random groups of the samples: with them the error of
            any number of a slice is known by the jackknife, without the losses of all samples.
        group_n: (groups,) their sizes.
    """

    loss: Array
    stderr: Array
    accuracy: Array
    group_loss: Array
    group_n: Array

    def take(self, rows: slice | Array) -> "Slice":
        """Some of the points."""
        return Slice(
            self.loss[rows], self.stderr[rows], self.accuracy[rows], self.group_loss[rows], self.group_n
        )

    @classmethod
    def joined(cls, pieces: Sequence["Slice"]) -> "Slice":
        """The points of several, of the same samples."""

        def every(name: str) -> Array:
            return np.concatenate([getattr(one, name) for one in pieces])

        of_points = [every(name) for name in ("loss", "stderr", "accuracy", "group_loss")]
        loss, stderr, accuracy, group_loss = of_points
        return cls(loss, stderr, accuracy, group_loss, pieces[0].group_n)

    @property
    def without_each(self) -> Array:
        """(groups, points) mean losses without the samples of each group in turn."""
        kept = self.group_n.sum() - self.group_n
        with np.errstate(invalid="ignore"):  # where losses are infinite
            total = self.group_loss @ self.group_n
            return np.asarray(((total[:, None] - self.group_loss * self.group_n) / kept).T)


def evaluate(
    subject: Subject,
    inputs: Mapping[str, Batches],
    directions: Sequence[Params],
    coordinates: Float[Tensor, "points axes"],
    attacks: Mapping[str, Callable[[Subject], Batches]] = MappingProxyType({}),
) -> dict[str, Slice]:
    """Loss and accuracy at θ + Σ_a coordinate_a · direction_a, of each condition. The subject is not changed.

    The weights of a point are made once, in fp64, and all conditions pass through them: where a direction is the exact
    difference of two networks, a whole step arrives at the other to the bit.

    Args:
        subject: the centre θ.
        inputs: condition -> its inputs, held fixed but for those of `attacks`.
        directions: one a column of `coordinates`; all move the same parameters.
        coordinates: points, in units of the directions.
        attacks: condition -> what gives its inputs at the network of a point: of the same samples, in order.
    """
    rows: dict[str, list[Tensor]] = {name: [] for name in inputs}
    groups = {name: torch.from_numpy(group_of(len(batches))) for name, batches in inputs.items()}
    moved = _mover({name: subject.weights[name] for name in directions[0]}, directions)
    for point in coordinates.tolist():
        here = subject.at(moved(point))
        for name, batches in inputs.items():
            rows[name].append(_row(here, batches, attacks.get(name), groups[name]))
    return {name: _slice(torch.stack(rows[name]), groups[name]) for name in inputs}


def _mover(weights: Params, directions: Sequence[Params]) -> Callable[[Sequence[float]], dict[str, Tensor]]:
    """What gives the weights at a point. Small ones are moved as one: there are many, and each would take its time."""
    small = [name for name, weight in weights.items() if weight.numel() <= SMALL]
    start, *along = (_flat([one[name] for name in small]) for one in (weights, *directions))

    there, step = torch.empty_like(start), torch.empty_like(start)  # new ones would cost as much as the sums

    def moved(point: Sequence[float]) -> dict[str, Tensor]:
        found = {
            name: _moved(weight, point, [direction[name] for direction in directions])
            for name, weight in weights.items()
            if weight.numel() > SMALL
        }
        there.copy_(start)
        for coordinate, direction in zip(point, along, strict=True):
            there.add_(torch.mul(direction, coordinate, out=step))
        pieces = there.split([weights[name].numel() for name in small])
        for name, piece in zip(small, pieces, strict=True):
            found[name] = torch.empty_like(weights[name]).copy_(piece.view_as(weights[name]))
        return {name: found[name] for name in weights}

    return moved


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    """In fp64, one after the other."""
    return torch.cat(
        [tensor.double().flatten() for tensor in tensors] or [torch.empty(0, dtype=torch.float64)]
    )


def _moved(weight: Tensor, point: Sequence[float], directions: Sequence[Tensor]) -> Tensor:
    """One parameter at a point."""
    moved = weight.double()
    for coordinate, direction in zip(point, directions, strict=True):
        moved = moved + coordinate * direction.double()
    return moved.to(weight)


def _row(
    here: Subject, inputs: Batches, attack: Callable[[Subject], Batches] | None, group: Tensor
) -> Tensor:
    """Mean, standard error, accuracy, and the means of the groups; fp64, on the CPU."""
    try:
        found = sample_losses(here, attack(here) if attack else inputs)
    except NotFinite:  # the loss overflows, so that there is no attack
        return torch.full((3 + len(torch.bincount(group)),), float("nan"), dtype=torch.float64)
    losses = found.loss.double().cpu()
    spread = losses.std() if len(losses) > 1 else losses.new_tensor(float("nan"))
    summary = torch.stack([losses.mean(), spread / len(losses) ** 0.5, found.correct.double().mean().cpu()])
    return torch.cat([summary, torch.bincount(group, losses) / torch.bincount(group)])


def _slice(rows: Tensor, group: Tensor) -> Slice:
    loss, stderr, accuracy = rows[:, :3].numpy().T
    return Slice(loss, stderr, accuracy, rows[:, 3:].numpy(), torch.bincount(group).double().numpy())
