"""A line and a plane of the loss, under all conditions at once, and the numbers that they give."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
import xarray as xr

from geomlab import params
from geomlab.batchnorm import renewal, statistics_of
from geomlab.data.batches import Batches
from geomlab.devices import GIBIBYTE
from geomlab.landscape import directions, numbers, trajectory
from geomlab.landscape.slices import Slice, evaluate
from geomlab.measure.base import Joint, Realise, Tiles, dataset
from geomlab.measure.landscape.axes import Axis, Place, check, of_directions, order_of, parsed, steps
from geomlab.measure.landscape.centre import STENCIL, Centre, stencil
from geomlab.measure.landscape.plane import Plane, Surface, measured, parsed_plane
from geomlab.measure.tiled import Tiled
from geomlab.risk import HELD_FIXED, RECOMPUTED
from geomlab.stats import Array
from geomlab.subject import Subject

MEMORY = 4 * GIBIBYTE  # bytes for the graphs of the products that directions and the check need: ours
ATTACKS = ("fixed", "anew")
STATISTICS = {"fixed": "those of the checkpoint", "anew": "taken anew on clean inputs at each point"}
FLAT = (
    "--params '{}' selects no matrix that is not zero, and only matrices move, by their own norm: the slice is flat by "
    "construction"
)


@dataclass(frozen=True, eq=False)
class Landscape(Joint):
    """Loss and accuracy along one direction and on the plane of two, and what they amount to.

    Random directions are drawn from `seed` alone: the same for every condition, and, before each network's own norms
    are applied, for every checkpoint of one architecture. All others are made on clean inputs, once for all conditions.

    Attributes:
        subspace: of the parameters: full, visual, lora or a regular expression.
        axes: SPECs of the two directions; the line is along the first.
        orthogonal: whether the second direction loses its part along the first.
        attack: of `ATTACKS`: adversarial inputs crafted at the centre and held fixed, or attacked anew at every point.
        batchnorm: of `geomlab.batchnorm.MODES`: statistics of the checkpoint, or taken anew at every point.
        plane: SPEC of how the plane is measured: `grid`, or `adaptive` to a tolerance. Where the points of the latter
            lie depends on all conditions that are measured together.
        line_points: points of the line, odd.
        plane_points: points a side of a grid, odd.
        seed: of the directions.
        reference: network at θ₀, for the direction of that name; or None.
        trajectory: other networks, of which `pca` directions are made, and whose places on the plane are given.
        memory: bytes for kept graphs. It changes the time only.
    """

    subspace: str = "full"
    axes: tuple[str, str] = ("random", "random")
    orthogonal: bool = False
    attack: str = "fixed"
    batchnorm: str = "fixed"
    plane: str = "grid"
    line_points: int = 41
    plane_points: int = 21
    seed: int = 0
    reference: Subject | None = None
    trajectory: tuple[Subject, ...] = ()
    memory: float = MEMORY

    name = "landscape"
    revision = 6

    def __post_init__(self) -> None:
        for text in self.axes:
            parsed(text)
        parsed_plane(self.plane)

    @property
    def parameters(self) -> dict[str, Any]:
        """All attributes but the reference, which is part of the cell's key, and the memory; digests of networks."""
        out = ("reference", "memory", "plane")
        left = {name: value for name, value in vars(self).items() if name not in out}
        left |= {"trajectory": [[other.name, other.digest] for other in self.trajectory]}
        if self.adaptive is None:  # as before there was another
            return left
        del left["plane_points"]
        return left | {"plane": vars(self.adaptive)}

    @property
    def adaptive(self) -> Plane | None:
        """How the plane is measured, if not on a grid."""
        return parsed_plane(self.plane)

    @property
    def points(self) -> int:
        """At which the loss is taken: usually, of a plane that is measured to a tolerance."""
        plane = self.adaptive.usual if self.adaptive else self.plane_points**2
        return self.line_points + plane + 2 * STENCIL

    @property
    def most_points(self) -> int:
        """At most."""
        plane = self.adaptive.most if self.adaptive else self.plane_points**2
        return self.line_points + plane + 2 * STENCIL

    @property
    def derivatives(self) -> int:
        """The order of the derivatives that directions need: 0, 1 or 2."""
        return max(order_of(text) for text in self.axes)

    @property
    def products(self) -> int:
        """Matrix-vector products, about: of the check at the centre, and of the directions."""
        return 2 + sum(of_directions(text) for text in self.axes)

    def check(self, subject: Subject, clean: Batches) -> None:
        """Whether directions and statistics can be made, as far as the networks alone tell; see `Measurement`."""
        check(self.axes, self._place(subject, clean))
        renewal(self.batchnorm, subject, clean)

    def together(
        self,
        subject: Subject,
        inputs: Mapping[str, Batches],
        clean: Batches,
        tiles: Tiles,
        attacks: Mapping[str, Realise] = MappingProxyType({}),
    ) -> dict[str, xr.Dataset]:
        """Measure; see `Joint`. Randomness comes from the attribute `seed`."""
        place = self._place(subject, clean)
        names, pair = place.names, self._pair(place)
        others = self._others(place, pair)
        anew = attacks if self.attack == "anew" else {}
        along, renew = [axis.direction for axis in pair], renewal(self.batchnorm, subject, clean)

        def tiled(*, keep_samples: bool) -> Tiled:
            return Tiled(
                inputs,
                tiles,
                lambda some, at: evaluate(subject, some, along, at, anew, renew, keep_samples=keep_samples),
            )

        found, count = tiled(keep_samples=False).all(self._points(pair))
        surfaces = measured(self.adaptive, tiled(keep_samples=True), pair, count) if self.adaptive else {}
        return {
            name: self._labelled(
                subject,
                batches,
                names,
                pair,
                self._parts(pair, found[name], surfaces.get(name)),
                name in anew,
            ).assign(others)
            for name, batches in inputs.items()
        }

    def _place(self, subject: Subject, clean: Batches) -> Place:
        names = params.select(subject.weights, self.subspace)
        return Place(subject, clean, names, self.reference, self.trajectory, self.seed, self.memory)

    def _others(self, place: Place, pair: list[Axis]) -> dict[str, Any]:
        """Where the networks of the trajectory lie, in the order in which they were given."""
        if not self.trajectory:
            return {}
        theirs = [other.weights for other in self.trajectory]
        at, distance, off = trajectory.placed(place.weights, theirs, [axis.direction for axis in pair])
        return {
            "waypoint": np.array([other.name for other in self.trajectory]),
            "waypoint_step": (("waypoint", "axis"), at),
            "waypoint_distance": ("waypoint", distance),
            "waypoint_off_plane": ("waypoint", off),
        }

    def _pair(self, place: Place) -> list[Axis]:
        pair = [parsed(text)(place, number) for number, text in enumerate(self.axes)]
        if not self.orthogonal:
            return pair
        straight = directions.orthogonalised([axis.direction for axis in pair])
        words = ("", ", less its part along d0")
        return [
            replace(axis, direction=direction, words=axis.words + more)
            for axis, direction, more in zip(pair, straight, words, strict=True)
        ]

    def _points(self, pair: list[Axis]) -> torch.Tensor:
        """Of the line, the plane if it is a grid, and the stencils at the centre along each axis: (points, 2)."""
        line = steps(pair[0], self.line_points)
        grid = [] if self.adaptive else [torch.cartesian_prod(*self._sides(pair))]
        around = [stencil(axis) for axis in pair]
        return torch.cat(
            [
                torch.stack([line, torch.zeros_like(line)], 1),
                *grid,
                torch.stack([around[0], torch.zeros_like(around[0])], 1),
                torch.stack([torch.zeros_like(around[1]), around[1]], 1),
            ]
        )

    def _sides(self, pair: list[Axis]) -> list[torch.Tensor]:
        return [steps(axis, self.plane_points) for axis in pair]

    def _parts(self, pair: list[Axis], found: Slice, surface: Surface | None) -> "_Parts":
        """What was measured at `_points`, and of the plane."""
        counts = [self.line_points, 0 if surface else self.plane_points**2, STENCIL, STENCIL]
        ends = np.cumsum(counts)
        line, plane, *around = (
            found.take(slice(end - count, end)) for end, count in zip(ends, counts, strict=True)
        )
        if surface is None:
            surface = Surface(plane, [side.numpy() for side in self._sides(pair)])
        return _Parts(line, surface, around)

    def _labelled(
        self,
        subject: Subject,
        batches: Batches,
        names: list[str],
        pair: list[Axis],
        found: "_Parts",
        anew: bool,
    ) -> xr.Dataset:
        line, plane, sides = found.line, found.plane.values, found.plane.sides
        step = steps(pair[0], self.line_points).numpy()
        shape = (len(sides[0]), len(sides[1]))
        lengths = np.array([axis.norm for axis in pair])
        size = directions.norm({name: subject.weights[name] for name in names})
        moving = anew or self.batchnorm == "anew"
        centre = Centre.of(subject, batches, names, pair, found.around, check=not moving, memory=self.memory)
        values = {
            "line_loss": ("step", line.loss),
            "line_loss_stderr": ("step", line.stderr),
            "line_accuracy": ("step", line.accuracy),
            "plane_loss": (("alpha", "beta"), plane.loss.reshape(shape)),
            "plane_loss_stderr": (("alpha", "beta"), plane.stderr.reshape(shape)),
            "plane_accuracy": (("alpha", "beta"), plane.accuracy.reshape(shape)),
            **found.plane.labelled,
            "direction": ("axis", np.array([axis.words for axis in pair])),
            "direction_norm": ("axis", lengths),
            "relative_norm": ("axis", lengths / (size or np.nan)),
            "axes_cosine": _cosine(pair),
            **centre.values,
            **self._numbers(line, step, plane, sides, pair),
            "params": self.subspace,
            "inputs": f"attack {RECOMPUTED}" if anew else f"inputs realised at the centre and {HELD_FIXED}",
            "n": len(batches),
            "samples_sha256": batches.samples,
        }
        if statistics_of(subject.module):
            values["batchnorm"] = STATISTICS[self.batchnorm]
        coords = {"step": step, "alpha": sides[0], "beta": sides[1], "axis": [0, 1]}
        coords["group"] = np.arange(len(line.group_n))
        said = [*self._warnings(found, lengths), *found.plane.warnings, *centre.warnings]
        return dataset(values, coords, said)

    def _numbers(
        self, line: Slice, step: Array, plane: Slice, sides: list[Array], pair: list[Axis]
    ) -> dict[str, Any]:
        """Widths and the rest, in distances; of a direction of length 0 there are none."""
        first, second = (axis.norm for axis in pair)
        cosine = _cosine(pair)
        upright = (
            second * (1 - cosine**2) ** 0.5 if np.isfinite(cosine) else 0.0
        )  # of the parallelogram's height
        rho = first * min(pair[0].high, -pair[0].low) / 2
        found = numbers.of_line(step * first, line, rho=rho) if first else {}
        if first and upright:
            distances = sides[0] * first, sides[1] * upright
            area = numbers.with_interval(lambda loss: numbers.area(*distances, loss), plane)
            found["area"] = numbers.not_below_zero(area)
            if numbers.spills_over(*distances, plane.loss):
                found["area"] = replace(found["area"], high=float("inf"))
        if pair[0].arrives:
            found["barrier"] = numbers.with_interval(lambda loss: numbers.barrier(step, loss, -1, 0), line)
        undefined = numbers.undefined(len(line.group_n))
        values: dict[str, Any] = {}
        for name in (*numbers.OF_LINE, "area", "barrier"):
            one = found.get(name, undefined)
            values |= {name: one.value, f"{name}_low": one.low, f"{name}_high": one.high}
            values[f"{name}_left_out"] = ("group", one.left_out)
        return values | {"rise": numbers.RISE, "rho": rho}

    def _warnings(self, found: "_Parts", lengths: Array) -> list[str]:
        plane, mask = found.plane.values.loss, found.plane.labelled.get("plane_measured")
        plane = plane if mask is None else plane[mask[1].ravel() == 1]  # others are interpolated
        every = [found.line.loss, plane, *(one.loss for one in found.around)]
        bad = int((~np.isfinite(np.concatenate(every))).sum())
        said = [f"{bad} points of the landscape have a loss that is not finite"] if bad else []
        if not lengths.any():
            return [*said, FLAT.format(self.subspace)]
        for number in np.flatnonzero(lengths == 0):
            said.append(
                f"direction d{number} ({self.axes[number]}) moves no parameter: nothing is known along it"
            )
        return said


@dataclass(frozen=True, eq=False)
class _Parts:
    """What was measured of one condition: the line, the plane, and the stencils at the centre."""

    line: Slice
    plane: Surface
    around: list[Slice]


def _cosine(pair: list[Axis]) -> float:
    """Between the two directions."""
    first, second = (axis.norm for axis in pair)
    if not first * second:
        return float("nan")
    return directions.inner(pair[0].direction, pair[1].direction) / (first * second)
