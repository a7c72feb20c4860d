"""The tables of a study: one or several checkpoints, each number with its error and n."""

import math
from collections.abc import Callable

from geomlab.report import curvature_tables, landscape_tables, path_tables
from geomlab.report.cells import cell, count, scalar
from geomlab.report.entries import (
    ONE_ERROR,
    Row,
    accuracy_cell,
    called,
    each,
    last_layer,
    leading,
    stderr_cell,
)
from geomlab.results import Results
from geomlab.tables import Cell, Table

TO_CLEAN = {
    "cka_to_clean": "CKA to clean",
    "gram_drift": "Gram drift",
    "centroid_cosine": "centroid cosine",
    "lid": "LID",
    "delta_lid": "ΔLID",
    "gram_volume": "Gram volume",
}
TO_REFERENCE = {
    "reference_cka": "CKA",
    "reference_gram_drift": "Gram drift",
    "reference_procrustes": "Procrustes distance",
}


def tabulate(results: Results) -> dict[str, Table]:
    """All tables for which there are numbers: file name -> table."""
    makers: dict[str, Callable[[Results], Table]] = {
        "accuracy": accuracy_table,
        **curvature_tables.TABLES,
        **landscape_tables.TABLES,
        **path_tables.TABLES,
        "features": features_table,
        "features_layers": features_layers_table,
        "reference": reference_table,
        "drift": drift_table,
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


def features_table(results: Results) -> Table:
    """How far the last features moved from clean."""
    rows: list[Row] = [
        (*lead, *(stderr_cell(last_layer(one), name, n=count(one)) for name in TO_CLEAN))
        for lead, one in each(results, "features")
    ]
    caption = (
        f"Of what feeds the last linear map, against the same network's features of clean inputs. {ONE_ERROR}"
    )
    return Table("Features", (*leading(results), *TO_CLEAN.values()), tuple(rows), caption)


def features_layers_table(results: Results) -> Table:
    """The same at every layer."""
    rows: list[Row] = [
        (*lead, str(layer), *(stderr_cell(one.sel(layer=layer), name, n=count(one)) for name in TO_CLEAN))
        for lead, one in each(results, "features")
        for layer in one["layer"].values
    ]
    caption = f"Against the same network's features of clean inputs. {ONE_ERROR}"
    return Table(
        "Features of each layer", (*leading(results), "layer", *TO_CLEAN.values()), tuple(rows), caption
    )


def reference_table(results: Results) -> Table:
    """How far the last features are from the reference's on the same inputs."""
    rows: list[Row] = [
        (*lead, *(stderr_cell(last_layer(one), name, n=count(one)) for name in TO_REFERENCE))
        for lead, one in each(results, "features")
        if any(math.isfinite(scalar(last_layer(one), name)) for name in TO_REFERENCE)
    ]
    caption = f"Features of the network against those of the reference on the same inputs. {ONE_ERROR}"
    return Table(
        "Features against the reference", (*leading(results), *TO_REFERENCE.values()), tuple(rows), caption
    )


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
