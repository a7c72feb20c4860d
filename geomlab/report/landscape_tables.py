"""Tables of the loss slices: what a line and a plane amount to, and whether their curvature is the Hessian's."""

import math
from collections.abc import Callable, Mapping

import numpy as np
import xarray as xr

from geomlab.report.cells import cells, count, scalar, text
from geomlab.report.entries import Row, called, each, interval_cell, leading
from geomlab.results import Results
from geomlab.tables import Cell, Table

NUMBERS = ("width", "asymmetry", "sharpness", "roughness", "area", "barrier")


def numbers_table(results: Results) -> Table:
    """The numbers of the line along d₀, and the area of the basin in the plane."""
    found = [(lead, one) for lead, one in each(results, "landscape") if "width" in one]
    shown = [name for name in NUMBERS if any(math.isfinite(scalar(one, name)) for _, one in found)]
    rows: list[Row] = [(*lead, *(interval_cell(one, name) for name in shown)) for lead, one in found]
    caption = (
        f"Along d₀ ({_directions(found, 0)}), in distances of weight space: width of the interval around the centre "
        f"in which the loss is at most {_same(found, 'rise')} nats above it, with ∞ for its upper end where the line "
        "does not leave it; asymmetry (R − L)/(|R| + |L|) of the mean rises right and left; sharpness, the largest "
        f"rise within {_same(found, 'rho')}; roughness, the ups and downs beyond those of a single valley; area of the "
        "plane in which the loss is as low as in the width, with ∞ where it reaches the border; barrier, the largest "
        "rise over the straight line to the reference. In brackets 95 % intervals over samples."
    )
    return Table("Loss slices", (*leading(results), *shown), tuple(rows), caption)


def curvature_table(results: Results) -> Table:
    """The curvature at the centre along each direction, twice."""
    rows: list[Row] = []
    for lead, one in each(results, "landscape"):
        if "curvature" not in one:
            continue
        for axis in one["axis"].values:
            at = one.sel(axis=axis)
            named = f"d{axis}: {text(at, 'direction')}"
            slice_error = Cell(scalar(at, "curvature_error"), n=count(one))
            by_hessian = Cell(scalar(at, "curvature_by_hessian"), n=count(one))
            rows.append((*lead, named, interval_cell(at, "curvature"), slice_error, by_hessian))
    columns = (*leading(results), "direction", "from the slice", "error of differences", "dᵀHd/‖d‖²")
    caption = (
        "Second derivative of the loss at the centre per unit length squared, in nats: from losses on the slice "
        "alone, with its 95 % interval over samples and the error of taking differences, and by a Hessian-vector "
        "product on the same samples. The two have to agree within that error; where they do not, a warning says so."
    )
    return Table("Curvature of the slices", columns, tuple(rows), caption)


def waypoints_table(results: Results) -> Table:
    """Where the networks of a trajectory lie on the plane."""
    rows: list[Row] = []
    for checkpoint in results.checkpoints:
        found = [one for _, one in cells(results, "landscape", checkpoint) if "waypoint_step" in one]
        for number, name in enumerate(found[0]["waypoint"].values if found else (), start=1):
            at = found[0].sel(waypoint=name)  # the same under every condition
            numbers = [scalar(at.sel(axis=axis), "waypoint_step") for axis in (0, 1)]
            distance, off = scalar(at, "waypoint_distance"), scalar(at, "waypoint_off_plane")
            numbers += [distance, off / distance if distance else math.nan]
            rows.append((*called(results, checkpoint), str(number), str(name), *map(Cell, numbers)))
    columns = (
        *called(results, "checkpoint"), "number", "network", "along d₀", "along d₁", "distance", "off the plane",
    )  # fmt: skip
    caption = (
        "The networks of the trajectory, numbered as in the figure of the plane: steps to the point of the plane "
        "nearest to each, its distance in weight space from the network in the centre, and the share of that distance "
        "that is off the plane. The loss drawn at its place is its own only where that is small. Exact: no sampling is "
        "involved."
    )
    return Table("Trajectory", columns, tuple(rows), caption)


TABLES: Mapping[str, Callable[[Results], Table]] = {
    "slices": numbers_table,
    "slices_curvature": curvature_table,
    "trajectory": waypoints_table,
}


def _directions(found: list[tuple[Row, xr.Dataset]], axis: int) -> str:
    named = dict.fromkeys(text(one.sel(axis=axis), "direction") or "" for _, one in found)
    return "; ".join(named)


def _same(found: list[tuple[Row, xr.Dataset]], name: str) -> str:
    """A number that cells share, a range where they do not."""
    values = np.array([scalar(one, name) for _, one in found] or [math.nan])
    ends = dict.fromkeys(f"{end:.3g}" for end in (values.min(), values.max()))
    return "–".join(ends)
