"""Reading the joined measurement `features`: its last layer, and the names of the classes."""

import numpy as np
import xarray as xr


def last_layer(data: xr.Dataset) -> xr.Dataset:
    """The layer `features`, which feeds the last linear map."""
    return data.sel(layer="features") if "features" in data["layer"].values else data.isel(layer=-1)


def class_names(data: xr.Dataset) -> dict[int, str]:
    """The name of each class, its number where it has none."""
    named = {int(number): str(int(number)) for number in np.atleast_1d(data["class"].values)}
    if "class_name" in data:
        words = data["class_name"].transpose("class", ...).values.reshape(len(named), -1)
        for number, row in zip(named, words, strict=True):
            named[number] = next((word for word in row if isinstance(word, str) and word), named[number])
    return named
