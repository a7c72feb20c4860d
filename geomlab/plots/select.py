"""Reading a Dataset of results for a picture: what is there, and what it is of."""

from collections.abc import Iterator

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from geomlab import stats

Array = NDArray[np.float64]


def checkpoints(data: xr.Dataset) -> list[str]:
    """Names of the checkpoints."""
    return [str(name) for name in np.atleast_1d(data["checkpoint"].values)]


def conditions(data: xr.Dataset) -> list[str]:
    """Names of all conditions, measured or not."""
    return [str(name) for name in np.atleast_1d(data["condition"].values)]


def per_checkpoint(data: xr.Dataset) -> Iterator[tuple[str, xr.Dataset]]:
    """Each checkpoint's part, without the dimension."""
    for name in checkpoints(data):
        yield name, data.sel(checkpoint=name) if "checkpoint" in data.dims else data


def per_condition(data: xr.Dataset, variable: str) -> Iterator[tuple[str, xr.Dataset]]:
    """The conditions of one checkpoint for which a variable was measured."""
    for name in conditions(data):
        one = data.sel(condition=name) if "condition" in data.dims else data
        if variable in one and np.isfinite(numbers(one, variable)).any():
            yield name, one


def numbers(data: xr.Dataset, variable: str) -> Array:
    """Values of a variable, all NaN where it is missing."""
    return np.asarray(data[variable].values if variable in data else np.nan, dtype=np.float64)


def errors(data: xr.Dataset, variable: str) -> Array:
    """Standard errors of a variable, 0 where there is none, so that nothing is drawn."""
    values = numbers(data, f"{variable}_stderr")
    return np.asarray(np.nan_to_num(np.broadcast_to(values, numbers(data, variable).shape), nan=0.0))


def t_half_widths(data: xr.Dataset, variable: str) -> Array:
    """Half of the 95 % t-intervals of means over the cell's `probes`, 0 where there is no error."""
    t = stats.t95(float(data["probes"]))
    return np.nan_to_num(t * errors(data, variable), nan=0.0)


def jackknife_half_widths(data: xr.Dataset, variable: str) -> Array:
    """Half of the 95 % t-intervals from the errors of a cell's delete-a-group jackknife, 0 where there is no error."""
    groups = min(stats.GROUPS, float(data["n"]))
    return np.nan_to_num(stats.t95(groups) * errors(data, variable), nan=0.0)


def only(data: xr.Dataset, variable: str) -> xr.Dataset:
    """A variable with its error and n alone: of a Dataset of a hundred variables, each selection takes them all."""
    return data[[name for name in (variable, f"{variable}_stderr", "n") if name in data]]


def measured(data: xr.Dataset, variable: str) -> list[str]:
    """The conditions under which some checkpoint has a number of a variable."""
    alone = only(data, variable)
    found = {name for _, one in per_checkpoint(alone) for name, _ in per_condition(one, variable)}
    return [name for name in conditions(data) if name in found]


def layers(data: xr.Dataset, variable: str, dim: str = "layer") -> list[str]:
    """The layers along a dimension, in order: those with a number anywhere else."""
    finite = np.isfinite(numbers(data, variable))
    others = tuple(i for i, name in enumerate(data[variable].dims) if name != dim)
    return [str(name) for name in data[dim].values[finite.any(axis=others)]]


def words(data: xr.Dataset, variable: str) -> str:
    """The text of a variable where it is the same everywhere, else nothing."""
    found = {v for v in np.ravel(data[variable].values) if isinstance(v, str)} if variable in data else set()
    return found.pop() if len(found) == 1 else ""


def samples(data: xr.Dataset) -> str:
    """`n = 300`, or the range where conditions differ."""
    found = numbers(data, "n")
    found = found[np.isfinite(found)]
    if not found.size:
        return ""
    low, high = int(found.min()), int(found.max())
    return f"n = {low}" if low == high else f"n = {low}–{high}"
