"""The tables of a study: one or several checkpoints, each number with its error and n."""

import math
from collections.abc import Callable, Iterator

import xarray as xr

from geomlab.report.cells import cell, cells, count, scalar, smallest_converged, text
from geomlab.results import Results
from geomlab.tables import Cell, Entry, Table

Row = tuple[Entry, ...]

ONE_ERROR = "± is one standard error."
RESIDUAL = "± of an eigenvalue is its residual ‖Hv − λv‖, a bound on the distance to an eigenvalue of H."
QUANTITIES = {
    "lambda1_over_lambdak": "λ₁/λₖ",
    "n_lambda1_over_trace": "dim·λ₁/Tr H",
    "participation_ratio": "participation ratio",
    "layer_gini": "Gini over layers",
    "layer_cv": "CV over layers",
}
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
        "curvature": curvature_table,
        "anisotropy": anisotropy_table,
        "layers": layers_table,
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
        for lead, one in _each(results, "accuracy")
    ]
    caption = f"Accuracy with its 95 % Wilson interval; mean cross-entropy in nats. {ONE_ERROR}"
    return Table("Accuracy", (*_lead(results), "accuracy (%)", "loss"), tuple(rows), caption)


def curvature_table(results: Results) -> Table:
    """The Hessian in five numbers, and whether its eigenvalues converged."""
    rows: list[Row] = [
        (
            *lead,
            largest(one),
            Cell(
                scalar(one, "smallest_eigenvalue"),
                abs(scalar(one, "smallest_eigenvalue")) * scalar(one, "smallest_residual"),
                count(one),
            ),
            stderr_cell(one, "trace"),
            stderr_cell(one, "frobenius"),
            _status(one),
        )
        for lead, one in _each(results, "curvature")
    ]
    columns = (*_lead(results), "λmax", "λmin", "Tr H", "‖H‖F", "status")
    caption = f"Hessian of the mean cross-entropy (nats) over the {_params(results)}. {RESIDUAL} {ONE_ERROR}"
    return Table("Curvature", columns, tuple(rows), caption)


def _status(one: xr.Dataset) -> str:
    """What has not converged, of both ends of the spectrum."""
    largest = text(one, "status") or ""
    if smallest_converged(one):
        return largest
    return "λmin not converged" if largest == "converged" else f"{largest}; λmin neither"


def anisotropy_table(results: Results) -> Table:
    """How unevenly curvature is spread over the spectrum and the layers."""
    rows: list[Row] = []
    for lead, one in _each(results, "curvature"):
        by_name = {str(name): one.sel(quantity=name) for name in one["quantity"].values}
        cells = [
            stderr_cell(by_name[q], "anisotropy") if q in by_name else Cell(math.nan) for q in QUANTITIES
        ]
        rows.append((*lead, *(Cell(c.value, c.error, count(one)) for c in cells)))
    caption = (
        "λ₁/λₖ: first over last of the eigenvalues computed, ± the bound from their residuals; participation "
        "ratio: (Tr H)²/‖H‖F², how many directions share the curvature evenly; Gini coefficient and coefficient "
        f"of variation of κ over the layers. {ONE_ERROR}"
    )
    return Table("Anisotropy", (*_lead(results), *QUANTITIES.values()), tuple(rows), caption)


def layers_table(results: Results) -> Table:
    """κ of every layer, a column a condition."""
    rows: list[Row] = []
    for checkpoint in results.checkpoints:
        found = dict(cells(results, "curvature", checkpoint))
        for layer in dict.fromkeys(str(name) for one in found.values() for name in one["layer"].values):
            numbers = [
                stderr_cell(found[c].sel(layer=layer), "layer_kappa") if c in found else Cell(math.nan)
                for c in results.conditions
            ]
            rows.append((*_name(results, checkpoint), layer, *numbers))
    columns = (*_name(results, "checkpoint"), "layer", *results.conditions)
    caption = f"κ = Tr H of a layer's block over its number of parameters, in nats. {ONE_ERROR}"
    return Table("Curvature of each layer", columns, tuple(rows), caption)


def features_table(results: Results) -> Table:
    """How far the last features moved from clean."""
    rows: list[Row] = [
        (*lead, *(stderr_cell(last_layer(one), name, n=count(one)) for name in TO_CLEAN))
        for lead, one in _each(results, "features")
    ]
    caption = (
        f"Of what feeds the last linear map, against the same network's features of clean inputs. {ONE_ERROR}"
    )
    return Table("Features", (*_lead(results), *TO_CLEAN.values()), tuple(rows), caption)


def features_layers_table(results: Results) -> Table:
    """The same at every layer."""
    rows: list[Row] = [
        (*lead, str(layer), *(stderr_cell(one.sel(layer=layer), name, n=count(one)) for name in TO_CLEAN))
        for lead, one in _each(results, "features")
        for layer in one["layer"].values
    ]
    caption = f"Against the same network's features of clean inputs. {ONE_ERROR}"
    return Table(
        "Features of each layer", (*_lead(results), "layer", *TO_CLEAN.values()), tuple(rows), caption
    )


def reference_table(results: Results) -> Table:
    """How far the last features are from the reference's on the same inputs."""
    rows: list[Row] = [
        (*lead, *(stderr_cell(last_layer(one), name, n=count(one)) for name in TO_REFERENCE))
        for lead, one in _each(results, "features")
        if any(math.isfinite(scalar(last_layer(one), name)) for name in TO_REFERENCE)
    ]
    caption = f"Features of the network against those of the reference on the same inputs. {ONE_ERROR}"
    return Table(
        "Features against the reference", (*_lead(results), *TO_REFERENCE.values()), tuple(rows), caption
    )


def drift_table(results: Results) -> Table:
    """How far the parameters moved from the reference, in all and by layer."""
    rows: list[Row] = []
    for checkpoint in results.checkpoints:
        one = cell(results, "drift", checkpoint, None)
        if one is None:
            continue
        name = _name(results, checkpoint)
        rows.append((*name, "all", Cell(scalar(one, "relative")), Cell(scalar(one, "absolute"))))
        for layer in one["layer"].values:
            at = one.sel(layer=layer)
            numbers = Cell(scalar(at, "layer_relative")), Cell(scalar(at, "layer_absolute"))
            rows.append((*name, str(layer), *numbers))
    columns = (*_name(results, "checkpoint"), "layer", "‖θ − θ₀‖/‖θ₀‖", "‖θ − θ₀‖")
    return Table("Drift from the reference", columns, tuple(rows), "Exact: no sampling is involved.")


def accuracy_cell(one: xr.Dataset) -> Cell:
    """Accuracy in percent, with its Wilson interval."""
    value, low, high = (100 * scalar(one, name) for name in ("accuracy", "accuracy_low", "accuracy_high"))
    return Cell(value, (low, high), count(one))


def stderr_cell(one: xr.Dataset, name: str, *, n: int | None = None) -> Cell:
    """A variable with its `_stderr`."""
    error = scalar(one, f"{name}_stderr") if f"{name}_stderr" in one else None
    return Cell(scalar(one, name), error, n if n is not None else count(one))


def largest(one: xr.Dataset) -> Cell:
    """The largest eigenvalue, with its residual."""
    value, residual = (scalar(one.isel(eigen=0), name) for name in ("eigenvalue", "residual"))
    return Cell(value, abs(value) * residual, count(one))


def ratio(a: Cell, b: Cell) -> Cell:
    """a/b of independent numbers, its error to first order: (a/b)·√((δa/a)² + (δb/b)²)."""
    if not b.value:
        return Cell(math.nan, math.nan, a.n)
    value = a.value / b.value
    relative = [_error(x) / x.value if x.value else math.nan for x in (a, b)]
    return Cell(value, abs(value) * math.hypot(*relative), a.n)


def _error(x: Cell) -> float:
    return x.error if isinstance(x.error, float | int) else 0.0


def _each(results: Results, measurement: str) -> Iterator[tuple[Row, xr.Dataset]]:
    for checkpoint in results.checkpoints:
        for condition, one in cells(results, measurement, checkpoint):
            yield (*_name(results, checkpoint), condition), one


def _name(results: Results, checkpoint: str) -> tuple[str, ...]:
    """The column that says which checkpoint, where there are several."""
    return (checkpoint,) if len(results.checkpoints) > 1 else ()


def _lead(results: Results) -> tuple[str, ...]:
    return (*_name(results, "checkpoint"), "condition")


def last_layer(one: xr.Dataset) -> xr.Dataset:
    """The layer `features`, which feeds the last linear map."""
    return one.sel(layer="features") if "features" in one["layer"].values else one.isel(layer=-1)


def _params(results: Results) -> str:
    kinds = dict.fromkeys(text(one, "params") or "" for _, one in _each(results, "curvature"))
    return "parameters " + ", ".join(f"‘{kind}’" for kind in kinds)
