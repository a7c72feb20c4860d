"""CKA of every layer with every other: here with clean, and with a reference's layers."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from geomlab.features.intervals import MIN_SAMPLES, Interval
from geomlab.measure.features.layer import UNDEFINED, Pair
from geomlab.typing import Features

Kernels = Callable[[list[Features], list[Features]], Interval]


class LayerMatrix:
    """Debiased CKA, and its standard error, of the layers of two sides.

    Args:
        kernels: `cka_of_layers`, or `rbf_cka_of_layers`.
        xs: layer -> (n, d) features.
        ys: layer -> (m, d') features of the other side.
        rows: the samples that are looked at, all by default.
        paired: whether both are of the same samples; else all is NaN, as of fewer than eight samples.
    """

    def __init__(
        self,
        kernels: Kernels,
        xs: Mapping[str, Features],
        ys: Mapping[str, Tensor],
        *,
        paired: bool,
        rows: Tensor | None = None,
    ) -> None:
        self._rows, self._columns = list(xs), list(ys)
        if paired and ys and len(next(iter(xs.values()))) >= MIN_SAMPLES:
            sides = ([f if rows is None else f[rows] for f in side.values()] for side in (xs, ys))
            self._found = kernels(*sides)
        else:
            nothing = torch.full((len(xs), len(ys)), torch.nan, dtype=torch.float64)
            self._found = Interval(nothing, nothing, nothing, nothing)

    def between(self, row: str, column: str) -> Pair:
        """Of two layers; NaN where a side has no such layer."""
        if column not in self._columns:
            return UNDEFINED
        at = self._rows.index(row), self._columns.index(column)
        return float(self._found.value[at]), float(self._found.stderr[at])

    def left_out(self, row: str, column: str) -> Tensor | None:
        """(groups,) that of two layers without each group of samples, where there is one."""
        if self._found.left_out is None:
            return None
        return self._found.left_out[:, self._rows.index(row), self._columns.index(column)]

    def variables(self, name: str, dimension: str) -> dict[str, Any]:
        """Of the cell: (layer, dimension) values and standard errors."""
        dims = ("layer", dimension)
        values, errors = (np.asarray(one) for one in (self._found.value, self._found.stderr))
        return {name: (dims, values), f"{name}_stderr": (dims, errors)}

    def coordinate(self, dimension: str) -> dict[str, list[str]]:
        """The names of the columns."""
        return {dimension: self._columns}
