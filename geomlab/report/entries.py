"""Entries of tables: a number of a cell with its error and n, and the columns that say what a row is of."""

import math
from collections.abc import Iterator

import xarray as xr

from geomlab.report.cells import cells, count, scalar, text
from geomlab.results import Results
from geomlab.tables import Cell, Entry

Row = tuple[Entry, ...]

ONE_ERROR = "± is one standard error."


def accuracy_cell(one: xr.Dataset) -> Cell:
    """Accuracy in percent, with its Wilson interval."""
    value, low, high = (100 * scalar(one, name) for name in ("accuracy", "accuracy_low", "accuracy_high"))
    return Cell(value, (low, high), count(one))


def stderr_cell(one: xr.Dataset, name: str, *, n: int | None = None) -> Cell:
    """A variable with its `_stderr`."""
    error = scalar(one, f"{name}_stderr") if f"{name}_stderr" in one else None
    return Cell(scalar(one, name), error, n if n is not None else count(one))


def interval_cell(one: xr.Dataset, name: str) -> Cell:
    """A variable with its 95 % interval, or with its standard error where it has none: in older results."""
    if not math.isfinite(scalar(one, f"{name}_low")):
        return stderr_cell(one, name)
    return Cell(scalar(one, name), (scalar(one, f"{name}_low"), scalar(one, f"{name}_high")), count(one))


def largest(one: xr.Dataset) -> Cell:
    """The largest eigenvalue, with its residual."""
    value, residual = (scalar(one.isel(eigen=0), name) for name in ("eigenvalue", "residual"))
    return Cell(value, abs(value) * residual, count(one))


def matrix_name(one: xr.Dataset) -> str:
    """Whose curvature a cell holds; results of before it was recorded are of the Hessian."""
    names = {"gauss-newton": "Gauss–Newton matrix", "finite-difference": "Hessian, by finite differences,"}
    return names.get(text(one, "matrix") or "", "Hessian")


def ratio(a: Cell, b: Cell) -> Cell:
    """a/b of independent numbers, its error to first order: (a/b)·√((δa/a)² + (δb/b)²)."""
    if not b.value:
        return Cell(math.nan, math.nan, a.n)
    value = a.value / b.value
    relative = [_error(x) / x.value if x.value else math.nan for x in (a, b)]
    return Cell(value, abs(value) * math.hypot(*relative), a.n)


def _error(x: Cell) -> float:
    return x.error if isinstance(x.error, float | int) else 0.0


def each(results: Results, measurement: str) -> Iterator[tuple[Row, xr.Dataset]]:
    """The cells of a measurement, each with the first entries of its row."""
    for checkpoint in results.checkpoints:
        for condition, one in cells(results, measurement, checkpoint):
            yield (*called(results, checkpoint), condition), one


def called(results: Results, checkpoint: str) -> tuple[str, ...]:
    """The column that says which checkpoint, where there are several."""
    return (checkpoint,) if len(results.checkpoints) > 1 else ()


def leading(results: Results) -> tuple[str, ...]:
    """The first columns: which checkpoint, where there are several, and which condition."""
    return (*called(results, "checkpoint"), "condition")
