"""Finding the cells in the joined results: which there are, which were planned, what one holds."""

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import xarray as xr

from geomlab.results import Results

# Dimensions along which networks differ: of layers, of grids, and of what the bound is of.
JOINED = ("layer", "step", "alpha", "beta", "path", "t", "trained_on", "risk", "pair")


def cell(results: Results, measurement: str, checkpoint: str, condition: str | None) -> xr.Dataset | None:
    """One cell, without the layers that only other cells have; None where it was not measured.

    Args:
        results: of one or several checkpoints.
        measurement: its name.
        checkpoint: name of the checkpoint.
        condition: name of the condition, or None where the measurement takes none.
    """
    data = results.data.get(measurement)
    where = {"checkpoint": checkpoint} | ({} if condition is None else {"condition": condition})
    if data is None or any(value not in data[dim].values for dim, value in where.items()):
        return None
    one = data.sel(where)
    # Every cell has its warnings; a cell that the join filled in does not.
    if not isinstance(one["warnings"].item(), str):
        return None
    # The conditions of one network share layers and grid, so that a NaN there is a value; networks need not.
    joined = JOINED if data.sizes["checkpoint"] > 1 else ()
    for dim in ("eigen", "sample", "part", *joined):
        if dim in one.dims:
            one = one.dropna(dim, how="all", subset=[name for name in one.data_vars if dim in one[name].dims])
    return one


def cells(results: Results, measurement: str, checkpoint: str) -> Iterator[tuple[str, xr.Dataset]]:
    """The cells of a measurement over conditions, in the order of the conditions."""
    for condition in results.conditions:
        found = cell(results, measurement, checkpoint, condition)
        if found is not None:
            yield condition, found


def planned(manifest: dict[str, Any] | Any) -> list[tuple[str, str | None]]:
    """(measurement, condition) of every cell that the study wants."""
    return [(one["measurement"], one["condition"]) for one in manifest["cells"]]


def gather_warnings(results: Results, checkpoint: str) -> list[str]:
    """What the cells warn of, each sentence once with what it is of; then what is missing."""
    said: dict[str, dict[str, list[str]]] = {}
    missing: dict[str, list[str]] = {}
    for measurement, condition in planned(results.manifests[checkpoint]):
        found = cell(results, measurement, checkpoint, condition)
        if found is None:
            missing.setdefault(measurement, []).append(condition or "")
            continue
        for sentence in _sentences(found):
            said.setdefault(sentence, {}).setdefault(measurement, []).append(condition or "")
    lines = [f"{_everywhere(found)}: {sentence}" for sentence, found in said.items()]
    lines += [
        f"{_where(measurement, conditions)}: not measured yet; run geomlab analyze again with --resume"
        for measurement, conditions in missing.items()
    ]
    return lines + _other_versions(results.manifests[checkpoint])


def _other_versions(manifest: Mapping[str, Any]) -> list[str]:
    """A sentence for each set of libraries that an earlier part of a resumed study ran with."""
    now = manifest["versions"]
    sentences = []
    for before in manifest.get("earlier_versions", []):
        changed = [
            f"{name} {version} (now {now.get(name, 'none')})"
            for name, version in before.items()
            if now.get(name) != version
        ]
        sentences.append(f"resumed: cells kept from before were computed with {', '.join(changed)}")
    return sentences


def scalar(data: xr.Dataset, name: str) -> float:
    """A number of a cell, NaN where the cell lacks it."""
    return float(data[name].item()) if name in data else math.nan


def text(data: xr.Dataset, name: str) -> str | None:
    """A word of a cell, None where the cell lacks it."""
    value = data[name].item() if name in data else None
    return value if isinstance(value, str) else None


def converged(curvature: xr.Dataset) -> bool:
    """Whether all top eigenvalues of a cell have."""
    return text(curvature, "status") == "converged"


def smallest_converged(curvature: xr.Dataset) -> bool:
    """Whether the smallest eigenvalue of a cell has."""
    return scalar(curvature, "smallest_converged") == 1


def count(data: xr.Dataset, name: str = "n") -> int | None:
    """A whole number of a cell, None where the cell lacks it."""
    value = scalar(data, name)
    return int(value) if math.isfinite(value) else None


def vector(data: xr.Dataset, name: str) -> list[float]:
    """Numbers of a cell along its one dimension, empty where the cell lacks them."""
    return [float(x) for x in np.asarray(data[name].values, dtype=np.float64)] if name in data else []


def _sentences(found: xr.Dataset) -> list[str]:
    sentences: list[str] = json.loads(found["warnings"].item())
    status = text(found, "status")
    if status not in (None, "converged") and not sentences:
        sentences = [f"not converged: {status}"]
    return sentences


def _everywhere(found: Mapping[str, list[str]]) -> str:
    """Measurements of the same conditions together: an image that cannot be read is one for all of them."""
    together: dict[tuple[str, ...], list[str]] = {}
    for measurement, conditions in found.items():
        together.setdefault(tuple(conditions), []).append(measurement)
    return "; ".join(
        _where(", ".join(measurements), list(conditions)) for conditions, measurements in together.items()
    )


def _where(measurement: str, conditions: list[str]) -> str:
    named = ", ".join(filter(None, conditions))
    return f"{measurement} ({named})" if named else measurement
