"""One table for a terminal: what matters most of every checkpoint and condition."""

import math
from dataclasses import replace

from geomlab.report.cells import cell, scalar
from geomlab.report.entries import accuracy_cell, largest, stderr_cell
from geomlab.results import Results
from geomlab.results.features import last_layer
from geomlab.tables import Cell, Entry, Table

NONE = Cell(math.nan)


def summary_table(results: Results) -> Table:
    """Accuracy, loss, λmax, trace, CKA to clean and, of one checkpoint, Gram drift; it fits 120 columns.

    Args:
        results: of one or several checkpoints.
    """
    several = len(results.checkpoints) > 1
    rows = []
    for checkpoint in results.checkpoints:
        for condition in results.conditions:
            numbers = _numbers(results, checkpoint, condition)
            if any(math.isfinite(number.value) for number in numbers):
                lead: tuple[Entry, ...] = (checkpoint, condition) if several else (condition,)
                rows.append((*lead, *(numbers[:-1] if several else numbers)))
    numeric = ("accuracy (%)", "loss", "λmax", "Tr H", "CKA to clean")
    columns = ("checkpoint", "condition", *numeric) if several else ("condition", *numeric, "Gram drift")
    caption = ["± is one standard error; of λmax, its residual; accuracy with its 95 % interval."]
    for checkpoint in results.checkpoints:
        moved = cell(results, "drift", checkpoint, None)
        if moved is not None:
            caption.append(f"Drift of {checkpoint} from the reference: {Cell(scalar(moved, 'relative'))}.")
    title = "Summary" if several else f"Summary of {results.checkpoints[0]}"
    return Table(title, columns, tuple(rows), " ".join(caption))


def _numbers(results: Results, checkpoint: str, condition: str) -> tuple[Cell, ...]:
    accuracy, curvature, features = (
        cell(results, name, checkpoint, condition) for name in ("accuracy", "curvature", "features")
    )
    correct = loss = top = trace = cka = gram = NONE
    if accuracy is not None:
        correct, loss = accuracy_cell(accuracy), stderr_cell(accuracy, "mean_loss")
    if curvature is not None:
        top, trace = largest(curvature), stderr_cell(curvature, "trace")
    if features is not None:
        last = last_layer(features)
        cka, gram = stderr_cell(last, "cka_to_clean"), stderr_cell(last, "gram_drift")
    return (correct, *(replace(number, digits=1) for number in (loss, top, trace, cka, gram)))
