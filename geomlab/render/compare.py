"""Tables that compare checkpoints: differences paired by sample, ratios with their errors."""

import math
from collections.abc import Iterator

import numpy as np
import xarray as xr

from geomlab.report.cells import cell, count
from geomlab.report.tabulate import largest, ratio, stderr_cell
from geomlab.report.words import under
from geomlab.results import Results
from geomlab.stats import mean_stderr, paired_difference
from geomlab.tables import Cell, Entry, Table

Row = tuple[Entry, ...]


def comparison_tables(results: Results) -> dict[str, Table]:
    """Tables of every checkpoint against the first one."""
    tables = {"differences": differences_table(results), "ratios": ratios_table(results)}
    return {name: table for name, table in tables.items() if table.rows}


def differences_table(results: Results) -> Table:
    """Accuracy and loss of each checkpoint less those of the first one."""
    base = results.checkpoints[0]
    rows: list[Row] = []
    for checkpoint, condition, a, b in _pairs(results, "accuracy"):
        paired = _same_samples(a, b)
        right, loss = _difference(a, b, "correct", paired), _difference(a, b, "loss", paired)
        percent = Cell(100 * right.value, 100 * _number(right.error), right.n)
        rows.append((checkpoint, condition, percent, loss, "by sample" if paired else "no"))
    columns = ("checkpoint", "condition", "Δ accuracy (points)", "Δ loss (nats)", "paired")
    caption = (
        f"Less {base}. Paired by sample where both saw the same labelled samples, which takes the spread "
        "between samples out of the error; else the two errors are added as of independent samples. ± is "
        "one standard error."
    )
    return Table(f"Differences from {base}", columns, tuple(rows), caption)


def ratios_table(results: Results) -> Table:
    """Curvature of each checkpoint over that of the first one."""
    base = results.checkpoints[0]
    rows: list[Row] = [
        (
            checkpoint,
            condition,
            ratio(largest(a), largest(b)),
            ratio(stderr_cell(a, "trace"), stderr_cell(b, "trace")),
            ratio(stderr_cell(a, "frobenius"), stderr_cell(b, "frobenius")),
        )
        for checkpoint, condition, a, b in _pairs(results, "curvature")
    ]
    caption = (
        f"Over {base}; below 1 is flatter. Errors to first order: from the residuals for λmax, from the "
        "standard errors of the estimates for the others."
    )
    return Table(
        f"Curvature over {base}", ("checkpoint", "condition", "λmax", "Tr H", "‖H‖F"), tuple(rows), caption
    )


def describe_comparison(results: Results) -> list[str]:
    """Sentences about each checkpoint against the first one."""
    base = results.checkpoints[0]
    sentences = []
    for checkpoint in results.checkpoints[1:]:
        parts = [
            f"accuracy {under(str(row[1]))} is {_signed(row[2])} points ({_verdict(row[2])})"
            for row in differences_table(results).rows
            if row[0] == checkpoint and isinstance(row[2], Cell)
        ]
        parts += [
            f"λmax {under(str(row[1]))} is {row[2].value:.3g} times that of {base}"
            for row in ratios_table(results).rows
            if row[0] == checkpoint and isinstance(row[2], Cell) and math.isfinite(row[2].value)
        ]
        if parts:
            sentences.append(f"{checkpoint} against {base}: {'; '.join(parts)}.")
    return sentences


def _pairs(results: Results, measurement: str) -> Iterator[tuple[str, str, xr.Dataset, xr.Dataset]]:
    """Each later checkpoint and condition that the first checkpoint has too, with both cells."""
    for checkpoint in results.checkpoints[1:]:
        for condition in results.conditions:
            a = cell(results, measurement, checkpoint, condition)
            b = cell(results, measurement, results.checkpoints[0], condition)
            if a is not None and b is not None:
                yield checkpoint, condition, a, b


def _same_samples(a: xr.Dataset, b: xr.Dataset) -> bool:
    return np.array_equal(a["label"].values, b["label"].values)


def _difference(a: xr.Dataset, b: xr.Dataset, variable: str, paired: bool) -> Cell:
    x, y = a[variable].values, b[variable].values
    if paired:
        return Cell(*paired_difference(x, y), count(a))
    (mean_x, error_x), (mean_y, error_y) = mean_stderr(x), mean_stderr(y)
    return Cell(mean_x - mean_y, math.hypot(error_x, error_y), count(a))


def _signed(entry: Cell) -> str:
    return f"+{entry}" if entry.value > 0 else str(entry)


def _verdict(entry: Cell) -> str:
    """Whether a difference stands out of its error at the 95 % level."""
    error = _number(entry.error)
    if not math.isfinite(error) or abs(entry.value) <= 1.96 * error:
        return "within its error"
    return "beyond its error"


def _number(error: float | tuple[float, float] | None) -> float:
    return float(error) if isinstance(error, float | int) else math.nan
