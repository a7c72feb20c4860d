"""Tables that compare the features of checkpoints."""

import math
from collections.abc import Iterator

import xarray as xr

from geomlab.render.pairs import pairs, same_samples
from geomlab.report.cells import count, scalar
from geomlab.report.entries import ONE_ERROR, Row
from geomlab.results import Results
from geomlab.results.features import last_layer
from geomlab.results.likeness import likenesses
from geomlab.stats import GROUPS, Difference, jackknife_difference
from geomlab.tables import Cell, Table

# Those of the last layer whose interval leaves groups of samples out.
COMPARED = {
    "cka_to_clean": "CKA to clean",
    "gram_drift": "Gram drift",
    "centroid_cosine": "centroid cosine",
    "input_shift": "shift by inputs",
    "weight_shift": "shift by weights",
    "discrepancy": "discrepancy",
    "class_separation": "separation",
    "gram_volume": "Gram volume",
    "participation_ratio": "participation ratio",
    "effective_rank": "effective rank",
    "uniformity": "uniformity",
}


AT_SAME_N = (
    "gram_drift",
    "effective_rank",
    "participation_ratio",
)  # not compared at different numbers of samples


def features_table(results: Results) -> Table:
    """Numbers of the last features of each checkpoint less those of the first one, with a test."""
    base = results.checkpoints[0]
    rows: list[Row] = []
    for checkpoint, condition, a, b in pairs(results, "features"):
        paired = same_samples(a, b) and count(a) == count(b)
        for title, found in _apart(last_layer(a), last_layer(b), paired=paired):
            difference = Cell(found.value, (found.low, found.high), count(a))
            rows.append(
                (checkpoint, condition, title, difference, Cell(found.p), "by group" if paired else "no")
            )
    columns = ("checkpoint", "condition", "number", "difference", "p", "paired")
    caption = (
        f"Of the last features, less {base}. In brackets 95 % intervals over samples, and p of no difference, by "
        "Student's t of the delete-a-group jackknife: paired where both saw the same samples, each attacked against "
        "its own network. p is not adjusted for the number of rows. What depends on n is left out where that differs, "
        "as is what is of other samples than the clean ones."
    )
    return Table(f"Features, differences from {base}", columns, tuple(rows), caption)


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


def _apart(a: xr.Dataset, b: xr.Dataset, *, paired: bool) -> Iterator[tuple[str, Difference]]:
    """Each number that both have with its groups."""
    for name, title in COMPARED.items():
        left_out = f"{name}_left_out"
        if name in AT_SAME_N and count(a) != count(b):
            continue
        if all(left_out in one and math.isfinite(scalar(one, name)) for one in (a, b)):
            numbers = [
                (scalar(one, name), one[left_out].values[: min(GROUPS, count(one) or 0)]) for one in (a, b)
            ]
            yield title, jackknife_difference(*numbers, paired=paired)
