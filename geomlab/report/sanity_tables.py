"""Tables of the sanity checks of attacks: the verdicts, and the accuracies behind them."""

import math
from collections.abc import Callable, Mapping

import xarray as xr

from geomlab.report.cells import count, scalar, text
from geomlab.report.entries import Row, accuracy_cell, each, leading
from geomlab.results import Results
from geomlab.results.checks import CHECKS
from geomlab.tables import Cell, Table


def checks_table(results: Results) -> Table:
    """A verdict a condition and check, with the numbers behind it."""
    rows: list[Row] = []
    for lead, one in each(results, "sanity"):
        for check, what in CHECKS.items():
            at = one.sel(check=check)
            p = Cell(scalar(at, "p"), n=count(one))
            rows.append((*lead, what, text(at, "verdict") or "", p, text(at, "said") or ""))
    caption = (
        "What must be so of an attack whose gradients are not masked (Carlini et al. 2019), on some of the samples. "
        "p: of the comparison that speaks most against it, exact, one-sided, paired by sample and multiplied by the "
        "number of comparisons; a check fails below 0.05. Undecided: noise is not surely weaker, as where nothing "
        "breaks. That all hold does not prove that no stronger attack exists."
    )
    return Table(
        "Sanity of the attacks", (*leading(results), "check", "verdict", "p", "numbers"), tuple(rows), caption
    )


def accuracies_table(results: Results) -> Table:
    """The accuracy by radius and under each control."""
    rows: list[Row] = []
    for lead, one in each(results, "sanity"):
        if "multiple" not in one.dims:
            continue
        own = one.sel(multiple=1.0)
        n = count(one)
        for at in (one.isel(multiple=i) for i in range(one.sizes["multiple"])):
            rows.append((*lead, _named(at["multiple"].item()), Cell(scalar(at, "eps")), accuracy_cell(at)))
        for at in (one.sel(control=name) for name in one["control"].values):
            ends = tuple(100 * scalar(at, f"control_accuracy{end}") for end in ("_low", "_high"))
            value = Cell(100 * scalar(at, "control_accuracy"), (ends[0], ends[1]), n)
            rows.append((*lead, str(at["control"].item()), Cell(scalar(own, "eps")), value))
    there = tuple(row for row in rows if isinstance(row[-1], Cell) and math.isfinite(row[-1].value))
    caption = (
        "Accuracy with its 95 % Wilson interval: under the attack by its radius, in units of [0, 1] and of its norm, "
        "up to that within which any image is allowed; and at its own radius under noise, with a quarter and four "
        "times its steps, and under the Square attack with 1,000 queries."
    )
    columns = (*leading(results), "under", "radius", "accuracy (%)")
    return Table("Accuracy by radius and under controls", columns, there, caption)


def _named(multiple: float) -> str:
    if multiple == 0:
        return "clean"
    if multiple == 1:
        return "the attack"
    return "any image" if math.isinf(multiple) else f"{multiple:g} × its radius"


def failed(one: xr.Dataset) -> list[str]:
    """The checks that fail, in words."""
    return [what for check, what in CHECKS.items() if text(one.sel(check=check), "verdict") == "fails"]


def verdicts(one: xr.Dataset) -> dict[str, str]:
    """The verdict of each check."""
    return {check: text(one.sel(check=check), "verdict") or "" for check in CHECKS}


TABLES: Mapping[str, Callable[[Results], Table]] = {
    "sanity": checks_table,
    "sanity_accuracy": accuracies_table,
}
