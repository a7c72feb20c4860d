"""What a step along a direction means, in words and units."""

import numpy as np
import xarray as xr

from geomlab.plots import select
from geomlab.plots.style import escape, plain, short


def step_label(data: xr.Dataset, axis: int) -> str:
    """Label of an axis of steps, for matplotlib.

    Args:
        data: measurement `landscape`, of one or several checkpoints and conditions.
        axis: 0 or 1.
    """
    name = f"$d_{axis}$"
    norm = rf"$\|d_{axis}\| = {_norm(data, axis)}\,\|\theta\|$" if _norm(data, axis) else ""
    return f"step along {name}" + _brackets(plain(_words(data)), norm)


def step_html(data: xr.Dataset, axis: int) -> str:
    """The same for plotly, on two lines."""
    norm = f"‖d<sub>{axis}</sub>‖ = {_norm(data, axis)} ‖θ‖" if _norm(data, axis) else ""
    return f"step along d<sub>{axis}</sub><br>" + _brackets(escape(_words(data)), norm).strip()


def _words(data: xr.Dataset) -> str:
    return short(select.words(data, "direction"), 44)


def _norm(data: xr.Dataset, axis: int) -> str:
    """‖d‖/‖θ‖, as a range where checkpoints differ."""
    found = select.numbers(data.sel(axis=axis), "relative_norm")
    found = found[np.isfinite(found)]
    ends = (found.min(), found.max()) if found.size else ()
    return "–".join(dict.fromkeys(f"{end:.2g}" for end in ends))


def _brackets(*parts: str) -> str:
    inside = "; ".join(filter(None, parts))
    return f" ({inside})" if inside else ""
