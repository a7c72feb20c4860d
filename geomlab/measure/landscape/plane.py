"""How the plane is measured: on a grid, or at as many points as a stated error of its surface needs."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from scipy.spatial import KDTree

from geomlab.errors import UserError
from geomlab.landscape.adaptive import COARSEST, SIDE, Lattice, Round, Verdict, place, refine
from geomlab.landscape.interpolation import interpolated, losses_between
from geomlab.landscape.slices import OF_POINTS, Slice
from geomlab.measure.landscape.axes import Axis
from geomlab.measure.tiled import Tiled
from geomlab.spec import integer, number, parse
from geomlab.stats import Array

PLANES = ("grid", "adaptive[:error=0.02,points=500]")
ERROR = 0.02  # nats up to a loss of 1, and of the loss beyond: a fifth of the rise at which the area is taken; ours
POINTS = 500  # at most: a fifth of a 51 × 51 grid; ours
FEWEST = 97  # points: the first rounds and a check
NODES = 500  # of which the losses of all samples are held at once
USUAL = 150  # points, of the smooth surface of benchmarks/results/landscape.json


@dataclass(frozen=True)
class Plane:
    """How a plane is measured adaptively.

    Attributes:
        error: the tolerance, see `geomlab.landscape.adaptive.refine`.
        points: at most.
    """

    error: float = ERROR
    points: int = POINTS

    @property
    def usual(self) -> int:
        """Points that it usually takes; an error a quarter as large takes about twice as many."""
        wanted = USUAL * math.sqrt(ERROR / self.error)
        return round(min(self.most, max(FEWEST, wanted)))

    @property
    def most(self) -> int:
        """Points, at most: the lattice has no more."""
        return min(self.points, (SIDE + 1) ** 2)


def parsed_plane(text: str) -> Plane | None:
    """What a SPEC of `PLANES` says; None of a grid.

    Raises:
        UserError: if it is none.
    """
    spec = parse(text)
    if spec.head not in ("grid", "adaptive") or spec.positional:
        raise UserError(f"no plane '{text}'; there are {', '.join(PLANES)}")
    if spec.head == "grid":
        spec.only()
        return None
    spec.only("error", "points")
    found = Plane(number(spec, "error", ERROR), integer(spec, "points", POINTS))
    if not found.error:
        raise UserError(f"'{text}': error, of the surface, must be above 0")
    if found.points < FEWEST:
        raise UserError(f"'{text}': points, at most, must be at least {FEWEST}: the first ones and a check")
    return found


@dataclass(frozen=True, eq=False)
class Surface:
    """The plane of one condition.

    Attributes:
        values: at all nodes, those along the second side fastest.
        sides: (a,) and (b,) steps of the nodes.
        labelled: what else there is to say (results/FORMAT.md).
        warnings: where it is not as good as was asked for.
    """

    values: Slice
    sides: list[Array]
    labelled: Mapping[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def measured(wanted: Plane, tiled: Tiled, pair: list[Axis], first: int) -> dict[str, Surface]:
    """Measure all conditions at the same points, and interpolate between them.

    Args:
        wanted: how.
        tiled: of what; keeps the losses of the samples.
        pair: the axes.
        first: number of the first tile.
    """
    sides = [_lattice(axis) for axis in pair]
    spans = [axis.high - axis.low for axis in pair]
    one, two = ((side - axis.low) / span for side, axis, span in zip(sides, pair, spans, strict=True))
    found: dict[str, list[Slice]] = {name: [] for name in tiled.inputs}
    tile = first

    def measure(asked: Round) -> tuple[Round, dict[str, Array]]:
        nonlocal tile
        stored = tiled.stored(tile)
        made = asked if stored is None else Round(stored["round"].astype(np.int64), bool(stored["check"]))
        if not len(made.points):
            return made, {}
        at = torch.from_numpy(np.stack([side[made.points[:, axis]] for axis, side in enumerate(sides)], 1))
        marks = {"round": made.points.astype(np.float64), "check": np.array(float(made.check))}
        slices, tile = tiled.all(at, tile, marks)
        for name, piece in slices.items():
            found[name].append(piece)
        return made, {name: piece.sample_loss for name, piece in slices.items()}

    refined = refine(measure, (one, two), wanted.error, wanted.points)
    nodes = np.stack(np.meshgrid(one, two, indexing="ij"), -1).reshape(-1, 2)
    at = place(refined.points, (one, two))
    return {
        name: Surface(
            _between(at, nodes, Slice.joined(pieces)),
            sides,
            *_said(wanted, refined.points, refined.verdicts[name]),
        )
        for name, pieces in found.items()
    }


def _lattice(axis: Axis) -> Array:
    """(SIDE + 1,) steps, ascending, with both ends, and 0 among those of the first rounds; even on either side."""
    share = -axis.low / (axis.high - axis.low)
    left = COARSEST // 2 * min(max(round(2 * SIDE / COARSEST * share), 1), 2 * SIDE // COARSEST - 1)
    below = np.linspace(axis.low, 0, left + 1)
    return np.concatenate([below, np.linspace(0, axis.high, SIDE - left + 1)[1:]])


def _between(points: Array, nodes: Array, found: Slice) -> Slice:
    """All of a slice at the nodes; one that was measured keeps its values to the bit."""
    finite = np.isfinite(found.loss)
    of_points = np.column_stack([found.accuracy, found.group_accuracy])
    pieces = []
    for some in np.split(nodes, range(NODES, len(nodes), NODES)):
        losses = losses_between(points, some, found.sample_loss, finite)
        right = np.clip(interpolated(points, some, of_points, finite), 0, 1)
        pieces.append(Slice.of_samples(losses, right[:, 0], right[:, 1:]))
    made = Slice.joined(pieces)
    distance, measured = KDTree(points).query(nodes)
    same = distance == 0
    for name in OF_POINTS:
        if name != "sample_loss":
            getattr(made, name)[same] = getattr(found, name)[measured[same]]
    return made


def _said(wanted: Plane, points: Lattice, verdict: Verdict) -> tuple[dict[str, Any], list[str]]:
    """Labelled variables, and warnings."""
    mask = np.zeros((SIDE + 1, SIDE + 1), np.int8)
    mask[points[:, 0], points[:, 1]] = 1
    labelled = {
        "plane_measured": (("alpha", "beta"), mask),
        "plane_points": len(points),
        "plane_tolerance": wanted.error,
        "plane_error": verdict.error,
        "plane_checked": verdict.checked,
        "plane_check_error": verdict.check_error,
        "plane_status": "reached" if verdict.reached else f"not reached with {len(points)} points",
    }
    if verdict.reached:
        return labelled, []
    if math.isnan(verdict.error):
        return labelled, [
            f"next to no loss of the plane is finite at {len(points)} points, so its error is not known; give shorter "
            "directions, with length=…"
        ]
    spent = len(points) >= wanted.points
    more = "give it more with --plane adaptive:points=…" if spent else "the surface is too rough for more"
    known = f"the plane has an error of about {verdict.error:.2g} with {len(points)} points"
    return labelled, [f"{known}, not {wanted.error:g}; {more}"]
