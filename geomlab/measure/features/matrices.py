"""CKA of every layer with every other: here with clean, and with a reference's layers."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from geomlab.features.intervals import MIN_SAMPLES
from geomlab.features.layer_pairs import cka_of_layers
from geomlab.measure.features.layer import UNDEFINED, Pair
from geomlab.typing import Features, Float


class LayerMatrix:
    """Debiased linear CKA, and its standard error, of the layers of two sides.

    Args:
        xs: layer -> (n, d) features.
        ys: layer -> (m, d') features of the other side.
        paired: whether both are of the same samples; else all is NaN, as of fewer than eight samples.
    """

    def __init__(self, xs: Mapping[str, Features], ys: Mapping[str, Tensor], *, paired: bool) -> None:
        self._rows, self._columns = list(xs), list(ys)
        if paired and ys and len(next(iter(xs.values()))) >= MIN_SAMPLES:
            found = cka_of_layers(list(xs.values()), list(ys.values()))
            self._values, self._errors = found.value, found.stderr
        else:
            self._values = torch.full((len(xs), len(ys)), torch.nan, dtype=torch.float64)
            self._errors = self._values

    def between(self, row: str, column: str) -> Pair:
        """Of two layers; NaN where a side has no such layer."""
        if column not in self._columns:
            return UNDEFINED
        at = self._rows.index(row), self._columns.index(column)
        return float(self._values[at]), float(self._errors[at])

    def variables(self, name: str, dimension: str) -> dict[str, Any]:
        """Of the cell: (layer, dimension) values and standard errors."""
        dims = ("layer", dimension)
        return {name: (dims, _array(self._values)), f"{name}_stderr": (dims, _array(self._errors))}

    def coordinate(self, dimension: str) -> dict[str, list[str]]:
        """The names of the columns."""
        return {dimension: self._columns}


def _array(values: Float[Tensor, "rows columns"]) -> Any:
    return np.asarray(values)
