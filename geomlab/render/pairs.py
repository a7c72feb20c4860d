"""Which cells of two checkpoints are compared."""

from collections.abc import Iterator

import xarray as xr

from geomlab.report.cells import cell, text
from geomlab.report.entries import matrix_name
from geomlab.results import Results


def _of(one: xr.Dataset) -> tuple[tuple[str | None, ...], str]:
    """Subspace and matrix of a cell, and what became of inputs, statistics and tokens, where it has them."""
    return tuple(text(one, name) for name in ("params", "inputs", "batchnorm", "pooling")), matrix_name(one)


def pairs(results: Results, measurement: str) -> Iterator[tuple[str, str, xr.Dataset, xr.Dataset]]:
    """Each later checkpoint and condition that the first checkpoint has too, with both cells.

    What is of different matrices, in different subspaces of the parameters, or of inputs held fixed and attacked anew
    is not compared.
    """
    for checkpoint in results.checkpoints[1:]:
        for condition in results.conditions:
            a = cell(results, measurement, checkpoint, condition)
            b = cell(results, measurement, results.checkpoints[0], condition)
            alike = a is not None and b is not None and _of(a) == _of(b)
            if a is not None and b is not None and alike:
                yield checkpoint, condition, a, b


def same_samples(a: xr.Dataset, b: xr.Dataset) -> bool:
    """Whether two cells say that they are of the same samples."""
    return bool(text(a, "samples_sha256")) and text(a, "samples_sha256") == text(b, "samples_sha256")
