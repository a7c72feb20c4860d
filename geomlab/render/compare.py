"""Tables that compare checkpoints: differences paired by sample, ratios with their errors."""

import math
from collections.abc import Iterator

import xarray as xr

from geomlab.render.compare_features import features_table, likeness_table
from geomlab.render.differences import COLUMNS, difference, difference_rows
from geomlab.render.pairs import pairs, same_samples
from geomlab.report.cells import converged, count, scalar
from geomlab.report.entries import largest, ratio, stderr_cell
from geomlab.report.landscape_tables import NUMBERS
from geomlab.report.words import listed, under
from geomlab.results import Results
from geomlab.stats import Difference, mean_stderr, paired_difference
from geomlab.tables import Cell, Entry, Table

Row = tuple[Entry, ...]


def comparison_tables(results: Results) -> dict[str, Table]:
    """Tables of every checkpoint against the first one."""
    tables = {
        "differences": differences_table(results),
        "ratios": ratios_table(results),
        "slices_differences": slices_table(results),
        "features_differences": features_table(results),
        "features_across": likeness_table(results),
    }
    return {name: table for name, table in tables.items() if table.rows}


def differences_table(results: Results) -> Table:
    """Accuracy and loss of each checkpoint less those of the first one."""
    base = results.checkpoints[0]
    rows: list[Row] = []
    for checkpoint, condition, a, b in pairs(results, "accuracy"):
        paired = same_samples(a, b)
        right, loss = _difference(a, b, "correct", paired), _difference(a, b, "loss", paired)
        percent = Cell(100 * right.value, 100 * _number(right.error), right.n)
        rows.append((checkpoint, condition, percent, loss, "by sample" if paired else "no"))
    columns = ("checkpoint", "condition", "Δ accuracy (points)", "Δ loss (nats)", "paired")
    caption = (
        f"Less {base}. Paired by sample where both saw the same samples, which takes the spread "
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
            "yes" if converged(a) and converged(b) else "no",
        )
        for checkpoint, condition, a, b in pairs(results, "curvature")
    ]
    caption = (
        f"Over {base}; below 1 is flatter. Errors to first order: from the residuals for λmax, from the "
        "standard errors of the estimates for the others."
    )
    columns = ("checkpoint", "condition", "λmax", "Tr H", "‖H‖F", "eigenvalues converged")
    return Table(f"Curvature over {base}", columns, tuple(rows), caption)


def slices_table(results: Results) -> Table:
    """Numbers of the loss slices of each checkpoint less those of the first one, with a test."""
    base = results.checkpoints[0]
    caption = (
        f"Less {base}, each along its own directions, in distances of weight space: a direction with length=… has the "
        "same scale for all, and on the plane of pca:1 and pca:2 all are seen together. In brackets 95 % intervals "
        "over samples, and p of no difference, by Student's t of the delete-a-group jackknife: paired where both saw "
        "the same samples, which takes what they share out of the error. p is not adjusted for the number of rows."
    )
    rows = difference_rows(results, "landscape", _numbers_of_slices)
    return Table(f"Loss slices, differences from {base}", COLUMNS, rows, caption)


def _numbers_of_slices(a: xr.Dataset, b: xr.Dataset, paired: bool) -> Iterator[tuple[str, Difference]]:
    """Each number that both slices have, and how far they are apart."""
    for name in NUMBERS:
        yield from _slices_apart(name, name, a, b, paired)
    if "axis" in a.dims:
        for axis in a["axis"].values:
            at = a.sel(axis=axis), b.sel(axis=axis)
            yield from _slices_apart(f"curvature along d{axis}", "curvature", *at, paired)


def _slices_apart(
    title: str, name: str, a: xr.Dataset, b: xr.Dataset, paired: bool
) -> Iterator[tuple[str, Difference]]:
    """Nothing where one has no such number, only a bound of it, no interval, or, in older results, no groups."""
    bounded = all(math.isfinite(scalar(one, f"{name}_high")) for one in (a, b))
    found = difference(name, a, b, paired=paired) if bounded else None
    if found is not None:
        yield title, found


def describe_comparison(results: Results) -> list[str]:
    """Sentences about each checkpoint against the first one."""
    base = results.checkpoints[0]
    differences, ratios = differences_table(results).rows, ratios_table(results).rows
    sentences = []
    for checkpoint in results.checkpoints[1:]:
        points = [f"{_signed(row[2])} {under(str(row[1]))}" for row in differences if row[0] == checkpoint]
        if points:
            sentences.append(
                f"Accuracy of {checkpoint} less that of {base}, in points: {listed(points)}. "
                "A difference under twice its error is marked ≈."
            )
        bent = [
            f"{_signed(row[3])} {under(str(row[1]))}"
            for row in slices_table(results).rows
            if (row[0], row[2]) == (checkpoint, "curvature along d0")
        ]
        if bent:
            sentences.append(
                f"Curvature along d₀ of {checkpoint} less that of {base}, in nats per squared distance: "
                f"{listed(bent)}. A difference whose interval holds 0 is marked ≈."
            )
        factors = [
            f"{_factor(row[2])} {under(str(row[1]))}{'' if row[5] == 'yes' else ' (not converged)'}"
            for row in ratios
            if row[0] == checkpoint
        ]
        if factors:
            sentences.append(
                f"λmax of {checkpoint} over that of {base}: {listed(factors)}. "
                "An error not given is below the last digit."
            )
    return sentences


def differing_settings(results: Results) -> list[str]:
    """Sentences on settings that the checkpoints do not share: differences may come of them."""
    sentences = []
    keys = (
        "data", "params", "matrix", "directions", "orthogonal", "attack", "batchnorm", "plane", "trajectory", "layers",
        "pooling", "budget", "samples", "seed", "dtype", "device",
    )  # fmt: skip
    for key in keys:
        values = {name: str(manifest["settings"].get(key)) for name, manifest in results.manifests.items()}
        if len(set(values.values())) > 1:
            told = ", ".join(f"{name}: {value}" for name, value in values.items())
            sentences.append(f"analysed with different {key} ({told}): differences may come of that")
    return sentences


def _difference(a: xr.Dataset, b: xr.Dataset, variable: str, paired: bool) -> Cell:
    x, y = a[variable].values, b[variable].values
    if paired:
        return Cell(*paired_difference(x, y), count(a))
    (mean_x, error_x), (mean_y, error_y) = mean_stderr(x), mean_stderr(y)
    return Cell(mean_x - mean_y, math.hypot(error_x, error_y), count(a))


def _signed(entry: Entry) -> str:
    """A difference with its sign; one that does not stand out of its error is marked."""
    if not isinstance(entry, Cell):
        return str(entry)
    if isinstance(entry.error, tuple):
        told = entry.error[0] > 0 or entry.error[1] < 0
    else:
        told = abs(entry.value) > 2 * _number(entry.error)
    mark = "" if told else "≈ "
    return f"{mark}{'+' if entry.value > 0 else ''}{entry}"


def _factor(entry: Entry) -> str:
    """A ratio to three digits, with its error where that is seen in them."""
    if not isinstance(entry, Cell) or not math.isfinite(entry.value):
        return str(entry)
    error = _number(entry.error)
    seen = error > 5e-4 * abs(entry.value)
    return f"{entry.value:.3g}" + (f" ± {error:.1g}" if seen else "")


def _number(error: float | tuple[float, float] | None) -> float:
    return float(error) if isinstance(error, float | int) else math.nan
