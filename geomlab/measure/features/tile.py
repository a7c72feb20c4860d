"""A condition's dataset as the arrays of a tile, and back."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

DIMENSIONS = "_dimensions"  # of each array, as JSON


def as_arrays(found: xr.Dataset) -> dict[str, NDArray[Any]]:
    """A dataset as a tile."""
    every = {**found.coords, **found.data_vars}
    dims = {str(name): one.dims for name, one in every.items()}
    return {
        DIMENSIONS: np.array(json.dumps(dims)),
        **{str(name): np.asarray(one.values) for name, one in every.items()},
    }


def from_arrays(held: Mapping[str, NDArray[Any]]) -> xr.Dataset:
    """What `as_arrays` was given."""
    dims = json.loads(str(held[DIMENSIONS]))
    values = {name: (tuple(dims[name]), held[name]) for name in dims}
    coords = {name: values.pop(name) for name in list(values) if [name] == dims[name]}
    return xr.Dataset(values, coords)
