"""What a step along a direction means, in words and units."""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from geomlab.plots import select
from geomlab.plots.style import kind, lines

LISTED = 6  # networks of a trajectory that a figure names: of more the table does


def step_label(data: xr.Dataset, axis: int) -> str:
    """Label of an axis of steps, for matplotlib.

    Args:
        data: measurement `landscape`, of one or several checkpoints and conditions.
        axis: 0 or 1.
    """
    of = _range(data, axis, "relative_norm")
    return f"step along $d_{axis}$" + (rf" ($\|d_{axis}\| = {of}\,\|\theta\|$)" if of else "")


def step_html(data: xr.Dataset, axis: int) -> str:
    """The same for plotly."""
    of = _range(data, axis, "relative_norm")
    return f"step along d<sub>{axis}</sub>" + (f" (‖d<sub>{axis}</sub>‖ = {of} ‖θ‖)" if of else "")


def directions(data: xr.Dataset, axes: Sequence[int]) -> str:
    """Lines that say what the directions are and how long a step is, for the title of a figure.

    Args:
        data: measurement `landscape`, of one or several checkpoints and conditions.
        axes: which of them.
    """
    lines = []
    for axis in axes:
        length = _range(data, axis, "direction_norm")
        step = f"one step is {length} in weight space" if length else ""
        lines.append(f"d{axis}: " + "; ".join(filter(None, [_words(data, axis), step])))
    return "\n".join(line for line in lines if not line.endswith(": "))


def heading(title: str, data: xr.Dataset) -> str:
    """The title of a picture of the plane, and lines that say what its axes, points and inputs are."""
    return lines(title, directions(data, [0, 1]), interpolated(data), moved(data), waypoints(data))


def moved(data: xr.Dataset, variable: str = "line_loss") -> str:
    """Lines that say what became of adversarial inputs and of batch normalisation where the weights moved.

    Args:
        data: measurement `landscape` or `paths`, of one or several checkpoints and conditions.
        variable: that a condition has if it was measured.
    """
    return "\n".join(filter(None, [_attacked(data, variable), _statistics(data)]))


def _statistics(data: xr.Dataset) -> str:
    found = select.words(data, "batchnorm")
    return f"statistics of batch normalisation: {found}" if found else ""


def _attacked(data: xr.Dataset, variable: str) -> str:
    found: dict[str, list[str]] = {}
    for condition, one in select.per_condition(data, variable):
        if kind(condition) == "adversarial" and "inputs" in one:
            found.setdefault(select.words(one, "inputs"), []).append(condition)
    return "; ".join(f"{', '.join(names)}: {inputs}" for inputs, names in found.items() if inputs)


def interpolated(data: xr.Dataset) -> str:
    """A line that says from how many points the plane was interpolated, and how well; "" where it is a grid."""
    points, error = (select.numbers(data, f"plane_{name}") for name in ("points", "error"))
    if not np.isfinite(points).any():
        return ""
    low, high = (f"{end(points):.0f}" for end in (np.nanmin, np.nanmax))
    many = low if low == high else f"{low}–{high}"
    statuses = [status for status in np.ravel(data["plane_status"].values) if isinstance(status, str)]
    known = "≤" if all(status == "reached" for status in statuses) else "not as asked for but about"
    error_of = f"error {known} {np.nanmax(error):.2g} (nats up to a loss of 1, relative beyond)"
    return f"plane: {many} points measured (dots), interpolated with {error_of}"


def waypoints(data: xr.Dataset) -> str:
    """A line that says which network each number on the plane is, and how far off it; "" where there are none."""
    if "waypoint_step" not in data:
        return ""
    names = [str(name) for name in data["waypoint"].values]
    if len(names) > LISTED:
        return f"networks 1 to {len(names)}: the trajectory, at the points of the plane nearest to it"
    shares = (data["waypoint_off_plane"] / data["waypoint_distance"]).fillna(0.0)
    said = []
    for number, name in enumerate(names, start=1):
        share = 100 * float(shares.sel(waypoint=name).max())
        said.append(
            f"{number} {name}" + (f" ({share:.2g} % of its distance off the plane)" if share >= 1 else "")
        )
    return "networks: " + "; ".join(said)


def _words(data: xr.Dataset, axis: int) -> str:
    """What a direction is; results of before revision 2 have one name for both axes."""
    if "direction" not in data:
        return ""
    named = data.sel(axis=axis) if "axis" in data["direction"].dims else data
    return select.words(named, "direction")


def _range(data: xr.Dataset, axis: int, variable: str) -> str:
    """A length, as a range where checkpoints differ."""
    found = select.numbers(data.sel(axis=axis), variable)
    found = found[np.isfinite(found)]
    ends = (found.min(), found.max()) if found.size else ()
    return "–".join(dict.fromkeys(f"{end:.2g}" for end in ends))
