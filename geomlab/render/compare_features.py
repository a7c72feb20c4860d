"""Tables that compare the features of checkpoints."""

import xarray as xr

from geomlab.render.differences import COLUMNS, Named, difference, difference_rows
from geomlab.report.cells import count
from geomlab.report.entries import ONE_ERROR, Row
from geomlab.report.feature_tables import CLASSES, DIMENSIONS, TO_CLEAN
from geomlab.results import Results
from geomlab.results.features import last_layer
from geomlab.results.likeness import likenesses
from geomlab.tables import Cell, Table

# Of the last layer, those of which the values without each group are stored.
COMPARED = {**TO_CLEAN, **CLASSES, **DIMENSIONS}
AT_SAME_N = (
    "gram_drift",
    "effective_rank",
    "participation_ratio",
)  # not compared at different numbers of samples


def features_table(results: Results) -> Table:
    """Numbers of the last features of each checkpoint less those of the first one, with a test."""
    base = results.checkpoints[0]
    caption = (
        f"Of the last features, less {base}. In brackets 95 % intervals over samples, and p of no difference, by "
        "Student's t of the delete-a-group jackknife: paired where both saw the same samples, each attacked against "
        "its own network. p is not adjusted for the number of rows. What depends on n is left out where that differs, "
        "as is what is of other samples than the clean ones."
    )
    rows = difference_rows(results, "features", _apart)
    return Table(f"Features, differences from {base}", COLUMNS, rows, caption)


def likeness_table(results: Results) -> Table:
    """CKA of the last features of each two checkpoints, for the same samples."""
    found = likenesses(results.data.get("features", xr.Dataset()))
    rows: list[Row] = [
        (*one.checkpoints, one.condition, Cell(one.cka, one.cka_stderr, one.n)) for one in found
    ]
    caption = (
        "Debiased linear CKA of the last features of two networks on the same samples, each attacked against its own "
        f"network. {ONE_ERROR}"
    )
    columns = ("checkpoint", "other checkpoint", "condition", "CKA")
    return Table("Features of checkpoints against each other", columns, tuple(rows), caption)


def _apart(a: xr.Dataset, b: xr.Dataset, paired: bool) -> Named:
    """Each number that both have with its groups."""
    last = last_layer(a), last_layer(b)
    for name, title in COMPARED.items():
        alike = name not in AT_SAME_N or count(a) == count(b)
        found = difference(name, *last, paired=paired) if alike else None
        if found is not None:
            yield title, found
