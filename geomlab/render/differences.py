"""Rows that say how far numbers of two checkpoints are apart, with a test: of jackknives over the same groups."""

import math
from collections.abc import Callable, Iterator

import xarray as xr

from geomlab.render.pairs import pairs, same_samples
from geomlab.report.cells import count, scalar
from geomlab.report.entries import Row
from geomlab.results import Results
from geomlab.stats import GROUPS, Difference, jackknife_difference
from geomlab.tables import Cell

COLUMNS = ("checkpoint", "condition", "number", "difference", "p", "paired")
Named = Iterator[tuple[str, Difference]]


def difference_rows(
    results: Results, measurement: str, apart: Callable[[xr.Dataset, xr.Dataset, bool], Named]
) -> tuple[Row, ...]:
    """Of `COLUMNS`: each number of each checkpoint less that of the first one.

    Args:
        results: of several checkpoints.
        measurement: whose cells are compared.
        apart: of two cells, and whether they are of the same samples, each number that both have.
    """
    rows: list[Row] = []
    for checkpoint, condition, a, b in pairs(results, measurement):
        paired = same_samples(a, b) and count(a) == count(b)
        for title, found in apart(a, b, paired):
            difference = Cell(found.value, (found.low, found.high), count(a))
            how = "by group" if paired else "no"
            rows.append((checkpoint, condition, title, difference, Cell(found.p), how))
    return tuple(rows)


def difference(name: str, a: xr.Dataset, b: xr.Dataset, *, paired: bool) -> Difference | None:
    """Of one number; None where one has no such number or, as in older results, no groups of it.

    Args:
        name: of the variable, beside which its values without each group of samples are.
        a: a cell, with one such number.
        b: likewise.
        paired: whether both are of the same samples.
    """
    left_out = f"{name}_left_out"
    if not all(left_out in one and math.isfinite(scalar(one, name)) for one in (a, b)):
        return None
    numbers = [(scalar(one, name), one[left_out].values[: min(GROUPS, count(one) or 0)]) for one in (a, b)]
    return jackknife_difference(*numbers, paired=paired)
