"""The table of paths: how high the loss rises between the reference and the network."""

from collections.abc import Callable, Mapping

from geomlab.report.cells import count, scalar
from geomlab.report.entries import Row, each, interval_cell, leading
from geomlab.results import Results
from geomlab.tables import MISSING, Cell, Table


def paths_table(results: Results) -> Table:
    """What every path amounts to under every condition."""
    rows: list[Row] = []
    for lead, one in each(results, "paths"):
        for path in one["path"].values:
            at = one.sel(path=path)
            wrong = interval_cell(at, "accuracy_barrier")
            ends = (100 * wrong.error[0], 100 * wrong.error[1]) if isinstance(wrong.error, tuple) else None
            training = [
                interval_cell(at, "training_barrier"),
                *(Cell(scalar(at, f"training_loss_{when}")) for when in ("before", "after")),
            ]
            seen = [Cell(x.value, x.error, count(at, "n_trained")) for x in training]
            rows.append(
                (
                    *lead,
                    str(path),
                    interval_cell(at, "barrier"),
                    Cell(100 * wrong.value, ends, count(at)),
                    Cell(scalar(at, "relative_length")),
                    str(count(at, "steps") or MISSING),
                    *seen,
                )
            )
    columns = (
        *leading(results),
        "path",
        "barrier",
        "accuracy barrier (points)",
        "length",
        "steps",
        "barrier, trained on",
        "mean loss, straight",
        "mean loss, trained",
    )
    caption = (
        "From the reference to the network. Barrier: the largest rise of the loss, in nats, over the straight line "
        "between the losses of the two ends; the same of the error rate, in points; in brackets 95 % intervals over "
        "samples. Length: in distances of the two ends in weight space. Steps: of training. The last three columns are "
        "of the samples that the path was trained on, which are clean, and none of those that the barrier is of: the "
        "barrier there, and the mean loss along the path before and after training. A barrier that is high only on "
        "other samples is what training on few leaves."
    )
    return Table("Paths from the reference", columns, tuple(rows), caption)


TABLES: Mapping[str, Callable[[Results], Table]] = {"paths": paths_table}
