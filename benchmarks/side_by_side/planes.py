"""The loss on a plane, one way and another: ours, loss-landscapes, and the plain loop of Li et al.'s scripts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from unittest import mock

import loss_landscapes
import numpy as np
import torch
from loss_landscapes.metrics import Loss
from loss_landscapes.model_interface.model_parameters import ModelParameters
from numpy.typing import NDArray
from scipy.interpolate import RegularGridInterpolator
from torch.nn import functional as F

from geomlab.landscape.adaptive import SIDE, Round, Verdict, place, refine
from geomlab.landscape.interpolation import interpolated, losses_between
from geomlab.landscape.slices import Slice, evaluate
from geomlab.measure.landscape.axes import Axis, Place, parsed
from side_by_side.cases import Case

Array = NDArray[np.float64]
LATTICE = (np.linspace(0, 1, SIDE + 1),) * 2


@dataclass(eq=False)
class Plane:
    """A plane of a case in shares of its sides, each point evaluated once.

    Attributes:
        case: network and inputs.
        axes: its two directions.
        known: losses of the samples by point.
    """

    case: Case
    axes: Sequence[Axis]
    known: dict[tuple[float, float], Array] = field(default_factory=dict)

    @classmethod
    def of(cls, case: Case, texts: Sequence[str]) -> "Plane":
        at = Place(case.subject, case.batches, case.names, None, (), 0, 2**32)
        return cls(case, [parsed(text)(at, number) for number, text in enumerate(texts)])

    def coordinates(self, shares: Array) -> torch.Tensor:
        low, high = (np.array([getattr(axis, end) for axis in self.axes]) for end in ("low", "high"))
        return torch.from_numpy(low + (high - low) * shares)

    def ours(self, shares: Array, *, keep_samples: bool = False) -> Slice:
        """Losses at points, anew."""
        along = [axis.direction for axis in self.axes]
        inputs = {"": self.case.batches}
        where = self.coordinates(shares)
        return evaluate(self.case.subject, inputs, along, where, keep_samples=keep_samples)[""]

    def samples(self, shares: Array) -> Array:
        """(points, samples) losses, measured where they are not known yet."""
        asked = [(float(a), float(b)) for a, b in shares]
        new = [point for point in dict.fromkeys(asked) if point not in self.known]
        if new:
            found = self.ours(np.array(new), keep_samples=True).sample_loss
            self.known.update(zip(new, found, strict=True))
        return np.array([self.known[point] for point in asked])

    def at(self, shares: Array) -> Array:
        """(points,) their means."""
        return self.samples(shares).mean(1)

    def forward(self) -> Callable[[], float]:
        """A bare pass of the data."""
        module, (images, labels) = self.case.module(), self.case.data()

        @torch.no_grad()
        def work() -> float:
            return float(F.cross_entropy(module(images), labels))

        return work

    def plain(self, shares: Array) -> Array:
        """As tomgoldstein/loss-landscape does: the weights set, and a pass over the data, point by point."""
        module, (images, labels) = self.case.module(), self.case.data()
        start = [parameter.detach().clone() for parameter in module.parameters()]
        one, two = ([axis.direction[name] for name in self.case.names] for axis in self.axes)
        losses = []
        with torch.no_grad():
            for a, b in self.coordinates(shares).tolist():
                for parameter, w, d, e in zip(module.parameters(), start, one, two, strict=True):
                    parameter.data = w + (a * d + b * e).to(w)
                losses.append(float(F.cross_entropy(module(images), labels)))
        return np.array(losses)

    def loss_landscapes(self, side: int) -> Array:
        """(side, side) losses of its `random_plane`, of a copy that it may change.

        It draws its own directions, from [0, 1): ours are put in their place. Both then get one length, that of the
        weights over `distance`, so that only planes of equally long directions are the same.
        """
        lengths = [axis.norm * (axis.high - axis.low) for axis in self.axes]
        module, (images, labels) = self.case.module(), self.case.data()
        length = float(np.mean(lengths))
        assert np.allclose(lengths, length, rtol=1e-3)
        size = float(sum(p.detach().double().square().sum() for p in module.parameters())) ** 0.5
        one, two = (
            ModelParameters([axis.direction[name].clone().float() for name in self.case.names])
            for axis in self.axes
        )
        made = "loss_landscapes.main."
        with (
            mock.patch(f"{made}rand_u_like", return_value=one),
            mock.patch(f"{made}orthogonal_to", return_value=two),
            torch.no_grad(),
        ):
            found: Array = loss_landscapes.random_plane(
                module,
                Loss(F.cross_entropy, images, labels),
                distance=size / length,
                steps=side,
                normalization=None,
            )
        return found


def square(side: int) -> Array:
    """(side², 2) points of a grid."""
    along = np.linspace(0, 1, side)
    return np.stack(np.meshgrid(along, along, indexing="ij"), -1).reshape(-1, 2)


def adaptive(plane: Plane, tolerance: float, most: int) -> tuple[Array, Array, Verdict]:
    """Points, the samples' losses there, and the verdict of ours."""
    losses: list[Array] = []

    def measure(wanted: Round) -> tuple[Round, dict[str, Array]]:
        if len(wanted.points):
            losses.append(plane.samples(place(wanted.points, LATTICE)))
        return wanted, {"": losses[-1]}

    found = refine(measure, (LATTICE[0], LATTICE[1]), tolerance, most)
    return place(found.points, LATTICE), np.concatenate(losses), found.verdicts[""]


def through(points: Array, samples: Array, places: Array) -> Array:
    """Our surface."""
    return losses_between(points, places, samples, np.isfinite(samples.sum(1))).mean(1)


def through_means(points: Array, samples: Array, places: Array) -> Array:
    """The same splines through the mean losses."""
    losses = samples.mean(1)
    return interpolated(points, places, losses, np.isfinite(losses))


def of_grid(losses: Array, places: Array, method: str, sides: Sequence[Array] | None = None) -> Array:
    """A grid's surface by scipy; NaN beyond it."""
    side = round(losses.size**0.5)
    axes = sides or [np.linspace(0, 1, side)] * 2
    surface = RegularGridInterpolator(axes, losses.reshape(side, side), method=method, bounds_error=False)
    return np.asarray(surface(places))


def errors(surface: Array, truth: Array) -> dict[str, float]:
    """In nats up to a loss of 1, relative beyond: root mean square and largest."""
    found = np.abs(surface - truth) / np.maximum(1, np.abs(truth))
    found = found[np.isfinite(found)]
    return {"rms": float(np.sqrt((found**2).mean())), "max": float(found.max()), "places": len(found)}
