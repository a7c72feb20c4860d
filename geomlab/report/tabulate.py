"""The tables of a study: one or several checkpoints, each number with its error and n."""

from collections.abc import Callable

from geomlab.report import (
    bound_tables,
    curvature_tables,
    feature_tables,
    landscape_tables,
    path_tables,
    sanity_tables,
)
from geomlab.report.cells import cell, scalar
from geomlab.report.entries import (
    ONE_ERROR,
    Row,
    accuracy_cell,
    called,
    each,
    leading,
    stderr_cell,
)
from geomlab.results import Results
from geomlab.tables import Cell, Table


def tabulate(results: Results) -> dict[str, Table]:
    """All tables for which there are numbers: file name -> table."""
    makers: dict[str, Callable[[Results], Table]] = {
        "accuracy": accuracy_table,
        **sanity_tables.TABLES,
        **curvature_tables.TABLES,
        **landscape_tables.TABLES,
        **path_tables.TABLES,
        **feature_tables.TABLES,
        "drift": drift_table,
        **bound_tables.TABLES,
    }
    tables = {name: make(results) for name, make in makers.items()}
    return {name: table for name, table in tables.items() if table.rows}


def accuracy_table(results: Results) -> Table:
    """Accuracy with its Wilson interval, and mean loss."""
    rows: list[Row] = [
        (
            *lead,
            accuracy_cell(one),
            stderr_cell(one, "mean_loss"),
        )
        for lead, one in each(results, "accuracy")
    ]
    caption = f"Accuracy with its 95 % Wilson interval; mean cross-entropy in nats. {ONE_ERROR}"
    return Table("Accuracy", (*leading(results), "accuracy (%)", "loss"), tuple(rows), caption)


def drift_table(results: Results) -> Table:
    """How far the parameters moved from the reference, in all and by layer."""
    rows: list[Row] = []
    for checkpoint in results.checkpoints:
        one = cell(results, "drift", checkpoint, None)
        if one is None:
            continue
        name = called(results, checkpoint)
        rows.append((*name, "all", Cell(scalar(one, "relative")), Cell(scalar(one, "absolute"))))
        for layer in one["layer"].values:
            at = one.sel(layer=layer)
            numbers = Cell(scalar(at, "layer_relative")), Cell(scalar(at, "layer_absolute"))
            rows.append((*name, str(layer), *numbers))
    columns = (*called(results, "checkpoint"), "layer", "‖θ − θ₀‖/‖θ₀‖", "‖θ − θ₀‖")
    return Table("Drift from the reference", columns, tuple(rows), "Exact: no sampling is involved.")
