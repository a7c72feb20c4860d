"""The loss at points of parameter space, on a line or a plane through one, under one or several conditions."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from geomlab.data.batches import Batches
from geomlab.errors import NotFinite
from geomlab.risk import SampleLosses, sample_losses
from geomlab.stats import Array, group_of
from geomlab.subject import Subject
from geomlab.typing import Float, Params

SMALL = 1 << 17  # entries of a parameter that is moved together with others: ours
PART = 1 << 18  # entries of a larger one that are moved at a time: ours, of 2^15 to 2^20 the fastest on a CPU
ALIGNMENT = 32  # entries, of 2 bytes or more, in the 64 bytes at whose multiples torch begins a tensor


@dataclass(frozen=True, eq=False)
class Slice:
    """Losses at points of a slice under one condition, one row a point.

    Attributes:
        loss: (points,) mean cross-entropy, fp64; not finite where the network overflows.
        stderr: (points,) its standard error over samples.
        accuracy: (points,) fraction correct.
        group_loss: (points, groups) the mean over each of some random groups of the samples: with them the error of
            any number of a slice is known by the jackknife, without the losses of all samples.
        group_accuracy: (points, groups) the same of the fraction correct.
        group_n: (groups,) their sizes.
        sample_loss: (points, samples) of each sample; (points, 0) where they are not kept.
    """

    loss: Array
    stderr: Array
    accuracy: Array
    group_loss: Array
    group_accuracy: Array
    group_n: Array
    sample_loss: Array

    def take(self, rows: slice | Array) -> "Slice":
        """Some of the points."""
        return Slice(**{name: getattr(self, name)[rows] for name in OF_POINTS}, group_n=self.group_n)

    @classmethod
    def of_samples(cls, losses: Array, accuracy: Array, group_accuracy: Array) -> "Slice":
        """Of losses (points, samples), which are not kept; see the attributes."""
        count = losses.shape[1]
        group = group_of(count)
        sizes = np.bincount(group).astype(np.float64)
        with np.errstate(invalid="ignore"):  # where losses are infinite
            groups = np.stack([losses[:, group == one].mean(1) for one in range(len(sizes))], 1)
            stderr = losses.std(1, ddof=1) / count**0.5 if count > 1 else np.full(len(losses), np.nan)
            return cls(losses.mean(1), stderr, accuracy, groups, group_accuracy, sizes, losses[:, :0])

    @classmethod
    def joined(cls, pieces: Sequence["Slice"]) -> "Slice":
        """The points of several, of the same samples."""

        def every(name: str) -> Array:
            return np.concatenate([getattr(one, name) for one in pieces])

        return cls(**{name: every(name) for name in OF_POINTS}, group_n=pieces[0].group_n)

    @property
    def errors(self) -> "Slice":
        """The same with the fraction of wrong answers in place of the cross-entropy."""
        wrong = {"loss": 1 - self.accuracy, "group_loss": 1 - self.group_accuracy}
        return replace(self, **wrong, sample_loss=self.sample_loss[:, :0])

    @property
    def without_each(self) -> Array:
        """(groups, points) mean losses without the samples of each group in turn."""
        kept = self.group_n.sum() - self.group_n
        with np.errstate(invalid="ignore"):  # where losses are infinite
            total = self.group_loss @ self.group_n
            return np.asarray(((total[:, None] - self.group_loss * self.group_n) / kept).T)


OF_POINTS = (
    "loss",
    "stderr",
    "accuracy",
    "group_loss",
    "group_accuracy",
    "sample_loss",
)  # fields with a row a point


def evaluate(
    subject: Subject,
    inputs: Mapping[str, Batches],
    directions: Sequence[Params],
    coordinates: Float[Tensor, "points axes"],
    attacks: Mapping[str, Callable[[Subject], Batches]] = MappingProxyType({}),
    renew: Callable[[Subject], Subject] = lambda here: here,
    gather: Callable[[Callable[[], SampleLosses]], SampleLosses] = lambda work: work(),
    *,
    keep_samples: bool = False,
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
        renew: what becomes of the network of a point before anything else, as in `geomlab.batchnorm`.
        gather: gives the losses of all samples from what gives those of a share, where `inputs` are one process's:
            `geomlab.landscape.parallel.over_samples`.
        keep_samples: whether the loss of each sample is kept.
    """
    moved = _mover({name: subject.weights[name] for name in directions[0]}, directions)
    networks = (subject.at(moved(point)) for point in coordinates.tolist())
    return at_each(networks, inputs, attacks, renew, gather, keep_samples=keep_samples)


def at_each(
    networks: Iterable[Subject],
    inputs: Mapping[str, Batches],
    attacks: Mapping[str, Callable[[Subject], Batches]] = MappingProxyType({}),
    renew: Callable[[Subject], Subject] = lambda here: here,
    gather: Callable[[Callable[[], SampleLosses]], SampleLosses] = lambda work: work(),
    *,
    keep_samples: bool = False,
) -> dict[str, Slice]:
    """Loss and accuracy of several networks, a row each, under each condition; each is made once, and let go.

    Args:
        networks: one or more, in order.
        inputs: condition -> its inputs, held fixed but for those of `attacks`.
        attacks: condition -> what gives its inputs at a network: of the same samples, in order.
        renew: what becomes of a network before anything else.
        gather: as of `evaluate`.
        keep_samples: as of `evaluate`.
    """
    rows: dict[str, list[tuple[Tensor, Tensor, Tensor]]] = {name: [] for name in inputs}
    for here in map(renew, networks):
        for name, batches in inputs.items():
            losses = gather(partial(_losses, here, batches, attacks.get(name)))
            kept = losses.loss.double().cpu() if keep_samples else torch.empty(0).double()
            rows[name].append((*_row(losses), kept))
    return {name: _slice(rows[name]) for name in inputs}


def _mover(weights: Params, directions: Sequence[Params]) -> Callable[[Sequence[float]], dict[str, Tensor]]:
    """What gives the weights at a point. Small ones are moved as one: there are many, and each would take its time.

    Where a point has all coordinates but the last in common with the one before, as along a grid's second side, what
    those add up to is kept.
    """
    dtype = next(iter(weights.values())).dtype
    begins: dict[str, int] = {}  # of the small ones, in the memory that they share
    end = 0
    for name, weight in weights.items():
        if weight.numel() <= SMALL and weight.is_contiguous() and weight.dtype == dtype:
            begins[name] = end
            end += -(-weight.numel() // ALIGNMENT) * ALIGNMENT
    start, *along = (_together(one, begins, end) for one in (weights, *directions))
    row, there = torch.empty_like(start), torch.empty_like(start)  # new ones would cost as much as the sums
    summed: Sequence[float] | None = None  # the coordinates in `row`

    def moved(point: Sequence[float]) -> dict[str, Tensor]:
        nonlocal summed
        *first, last = point
        if summed != first:
            summed = first
            _sum(row.copy_(start), first, along[:-1])
        together = torch.add(row, along[-1], alpha=last, out=there).to(dtype, copy=True)
        found = {}
        for name, weight in weights.items():
            if name in begins:
                found[name] = together.as_strided(weight.shape, weight.stride(), begins[name])
            else:
                ways = [direction[name] for direction in directions]
                found[name] = _moved_alone(weight, point, ways)
        return found

    return moved


def _moved_alone(weight: Tensor, point: Sequence[float], along: Sequence[Tensor]) -> Tensor:
    """One that is large: some entries at a time, which stay in the cache in fp64."""
    if not all(one.is_contiguous() for one in (weight, *along)):
        return _sum(weight.to(torch.float64, copy=True), point, along).to(weight)
    found = torch.empty_like(weight)
    wide = torch.empty(min(PART, weight.numel()), dtype=torch.float64, device=weight.device)
    pieces = [one.view(-1).split(PART) for one in (found, weight, *along)]
    for to, start, *ways in zip(*pieces, strict=True):
        to.copy_(_sum(wide[: len(start)].copy_(start), point, ways))
    return found


def _together(tensors: Params, begins: Mapping[str, int], end: int) -> Tensor:
    """(end,) those that `begins` names, in fp64."""
    found = next(iter(tensors.values())).new_zeros(end, dtype=torch.float64)
    for name, begin in begins.items():
        found[begin : begin + tensors[name].numel()] = tensors[name].flatten()
    return found


def _sum(start: Tensor, point: Sequence[float], along: Sequence[Tensor]) -> Tensor:
    """start, in fp64, + Σ_a point_a · along_a, in its place; what is added may be in single precision."""
    for coordinate, direction in zip(point, along, strict=True):
        start.add_(direction, alpha=coordinate)
    return start


def _losses(here: Subject, inputs: Batches, attack: Callable[[Subject], Batches] | None) -> SampleLosses:
    """Of each sample; NaN of all where the loss overflows, so that there is no attack."""
    try:
        return sample_losses(here, attack(here) if attack else inputs)
    except NotFinite:
        unknown = torch.full((len(inputs),), float("nan"))
        return SampleLosses(unknown, unknown > 0)


def _row(found: SampleLosses) -> tuple[Tensor, Tensor]:
    """Mean, standard error, accuracy, and the means of the groups, of losses and of correct ones; and their sizes.

    All in fp64, on the CPU; NaN where a loss is.
    """
    losses, correct = found.loss.double().cpu(), found.correct.double().cpu()
    group = torch.tensor(group_of(len(losses)))
    sizes = torch.bincount(group)
    spread = losses.std() if len(losses) > 1 else losses.new_tensor(float("nan"))
    summary = torch.stack([losses.mean(), spread / len(losses) ** 0.5, correct.mean()])
    row = torch.cat([summary, *(torch.bincount(group, of_each) / sizes for of_each in (losses, correct))])
    return row.masked_fill(losses.isnan().any(), float("nan")), sizes


def _slice(found: Sequence[tuple[Tensor, Tensor, Tensor]]) -> Slice:
    rows, samples = (torch.stack([one[part] for one in found]).numpy() for part in (0, 2))
    loss, stderr, accuracy = rows[:, :3].T
    group_loss, group_accuracy = np.split(rows[:, 3:], 2, axis=1)
    return Slice(loss, stderr, accuracy, group_loss, group_accuracy, found[0][1].double().numpy(), samples)
