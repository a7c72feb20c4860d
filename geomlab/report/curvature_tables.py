"""Tables of curvature: spectrum, anisotropy, layers, how sure over data, eigenspaces, sharpness, second opinion."""

import math
from collections.abc import Callable, Mapping

import numpy as np
import xarray as xr

from geomlab.report.cells import cells, count, scalar, smallest_converged, text, vector
from geomlab.report.entries import (
    ONE_ERROR,
    Row,
    called,
    each,
    interval_cell,
    largest,
    leading,
    matrix_name,
    stderr_cell,
)
from geomlab.results import Results
from geomlab.results.overlap import Place, overlaps
from geomlab.tables import Cell, Table

RESIDUAL = "± of an eigenvalue is its residual ‖Hv − λv‖, a bound on the distance to an eigenvalue of H."
QUANTITIES = {
    "lambda1_over_lambdak": "λ₁/λₖ",
    "n_lambda1_over_trace": "dim·λ₁/Tr H",
    "participation_ratio": "participation ratio",
    "layer_gini": "Gini over layers",
    "layer_cv": "CV over layers",
    "effective_rank": "effective rank",
    "absolute_participation_ratio": "participation of |λ|",
    "cross_layer_share": "cross-layer share",
}


def curvature_table(results: Results) -> Table:
    """The matrix in five numbers, and whether its eigenvalues converged."""
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
        for lead, one in each(results, "curvature")
    ]
    columns = (*leading(results), "λmax", "λmin", "Tr H", "‖H‖F", "status")
    caption = f"{_matrix(results)} over the {_params(results)}. {RESIDUAL} {ONE_ERROR}"
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
    for lead, one in each(results, "curvature"):
        by_name = {str(name): one.sel(quantity=name) for name in one["quantity"].values}
        cells = [
            interval_cell(by_name[q], "anisotropy") if q in by_name else Cell(math.nan, n=count(one))
            for q in QUANTITIES
        ]
        rows.append((*lead, *cells))
    caption = (
        "λ₁/λₖ: first over last of the eigenvalues computed; participation ratio: (Tr H)²/‖H‖F², how many directions "
        "share the curvature evenly; Gini coefficient and coefficient of variation of κ over the layers; effective "
        "rank: exp of the entropy of |λ|, and (Σ|λ|)²/‖H‖F²; share of ‖H‖F² that couples layers. In brackets 95 % "
        "intervals: of λ₁/λₖ the bounds from residuals; of what needs |λ| with what the density's steps leave open."
    )
    return Table("Anisotropy", (*leading(results), *QUANTITIES.values()), tuple(rows), caption)


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
            rows.append((*called(results, checkpoint), layer, *numbers))
    columns = (*called(results, "checkpoint"), "layer", *results.conditions)
    caption = f"κ = Tr H of a layer's block over its number of parameters, in nats. {ONE_ERROR}"
    return Table("Curvature of each layer", columns, tuple(rows), caption)


def _matrix(results: Results) -> str:
    """`Hessian of the mean cross-entropy (nats), inputs held fixed`; several where results differ."""
    found = list(
        dict.fromkeys((matrix_name(one), text(one, "inputs")) for _, one in each(results, "curvature"))
    )
    named = ", ".join(
        f"{name} of the mean cross-entropy (nats)" for name in dict.fromkeys(n for n, _ in found)
    )
    inputs = ", ".join(dict.fromkeys(i for _, i in found if i))
    return f"{named}, inputs {inputs}," if inputs else named


def _params(results: Results) -> str:
    kinds = dict.fromkeys(text(one, "params") or "" for _, one in each(results, "curvature"))
    return "parameters " + ", ".join(f"‘{kind}’" for kind in kinds)


SHARPNESS = {"sam": "SAM", "asam": "ASAM", "m_sharpness": "m-sharpness", "average_case": "average case"}


def sharpness_table(results: Results) -> Table:
    """How far the loss rises near the network."""
    found = [(row, one) for row, one in each(results, "curvature") if "sharpness" in one]
    rows: list[Row] = [
        (*row, *(stderr_cell(one.sel(kind=kind), "sharpness", n=count(one)) for kind in SHARPNESS))
        for row, one in found
    ]
    radii = [f"{scalar(one.sel(kind=kind), 'sharpness_rho'):g}" for _, one in found[:1] for kind in SHARPNESS]
    sizes = ", ".join(dict.fromkeys(str(count(one, "sharpness_m")) for _, one in found))
    labels = {**SHARPNESS, "m_sharpness": f"m-sharpness of m = {sizes}"}
    columns = (f"{label} (ρ = {rho})" for label, rho in zip(labels.values(), radii, strict=False))
    caption = (
        "Rise of the mean loss, in nats: along the gradient (SAM), relative to each weight (ASAM), of groups of "
        "samples each along its own gradient (m-sharpness), and in random directions. ± is one standard error over "
        "samples, samples, groups and probes in turn."
    )
    return Table("Sharpness", (*leading(results), *columns), tuple(rows), caption)


def samples_table(results: Results) -> Table:
    """How sure the largest eigenvalue is over data, and how it moves with n."""
    found = [(row, one) for row, one in each(results, "curvature") if "part_n" in one]
    parts = sorted({int(part) for _, one in found for part in one["part"].values} - {1})
    rows: list[Row] = []
    for row, one in found:
        first = one.isel(eigen=0)
        numbers = [
            stderr_cell(one.sel(part=part), "part_eigenvalue")
            if part in one["part"].values
            else Cell(math.nan)
            for part in parts
        ]
        rows.append(
            (
                *row,
                interval_cell(first, "eigenvalue"),
                *(Cell(cell.value, cell.error, count(one)) for cell in numbers),
            )
        )
    columns = (*leading(results), "λmax over samples", *(f"λmax of n/{part}" for part in parts))
    caption = (
        "The largest eigenvalue as an estimate of that of all inputs of the kind, in brackets its 95 % interval by the "
        "jackknife over groups of samples; and the mean of λmax over disjoint parts of the samples, ± one standard "
        "error over the parts. Where it still falls from part to whole, more samples would lower it further."
    )
    return Table("Largest eigenvalue over samples", columns, tuple(rows), caption)


def eigenspaces_table(results: Results) -> Table:
    """What lies in the top eigenspace, and whether other data have the same one."""
    rows: list[Row] = []
    for row, one in each(results, "curvature"):
        if "gradient_energy" in one:
            k = len(vector(one, "eigenvalue"))
            numbers = (scalar(one, "gradient_energy"), scalar(one, "drift_energy"), k / scalar(one, "dim"))
            shares = (Cell(value, None, count(one)) for value in numbers)
            rows.append((*row, str(k), *shares, Cell(scalar(one, "halves_overlap"), None, count(one))))
    columns = ("vectors", "gradient", "θ − θ₀", "by chance", "shared by halves")
    caption = (
        "Share of the squared length of the gradient, and of the way from the reference, in the top eigenspace, beside "
        "what a random direction would have; and the mean squared cosine of the principal angles between the top "
        "eigenspaces of two disjoint halves of the samples. Exact for these samples."
    )
    return Table("Top eigenspace", (*leading(results), *columns), tuple(rows), caption)


def overlap_table(results: Results) -> Table:
    """What the top eigenspaces of conditions and checkpoints share."""
    rows: list[Row] = []
    for pair in overlaps(results["curvature"]) if "curvature" in results else ():
        angles = np.degrees(np.arccos(pair.cosines))
        names = (_place(results, place) for place in pair.places)
        numbers = (pair.shared, float(angles[0]), float(angles[-1]), *pair.halves, pair.chance)
        rows.append((*names, *map(Cell, numbers)))
    columns = (
        "one",
        "other",
        "shared",
        "smallest angle (°)",
        "largest angle (°)",
        "halves of one",
        "halves of other",
    )
    caption = (
        "Mean squared cosine of the principal angles between two top eigenspaces, and the smallest and the largest of "
        "them. Beside it what halves of the samples of each share: two conditions can hardly share more. Of more than "
        "32,768 parameters the cosines are those of sketches, right to about 0.01."
    )
    return Table("Top eigenspaces against each other", (*columns, "by chance"), tuple(rows), caption)


def _place(results: Results, place: Place) -> str:
    return ", ".join((*called(results, place.checkpoint), place.condition))


def second_opinion_table(results: Results) -> Table:
    """pyhessian's eigenvalues beside ours."""
    rows: list[Row] = []
    for row, one in each(results, "curvature"):
        if not isinstance(one.get("pyhessian_verdict", xr.DataArray([0])).values[0], str):
            continue
        columns = ("pyhessian_eigenvalue", "pyhessian_residual", "pyhessian_matched")
        for value, residual, ours, verdict in zip(
            *(vector(one, column) for column in columns),
            map(str, one["pyhessian_verdict"].values),
            strict=True,
        ):
            rows.append(
                (*row, Cell(value, abs(value) * residual, count(one)), Cell(ours, None, count(one)), verdict)
            )
    caption = (
        "Eigenvalues of largest magnitude by pyhessian, ± their residuals by our products, beside those of ours they "
        "are matched with, or the nearest. ‘theirs is off’: the residual is above the tolerance of 1e-3 that it was "
        "asked for. ‘not searched by ours’: it lies between our largest ones and our smallest."
    )
    return Table("Second opinion", (*leading(results), "pyhessian", "ours", "verdict"), tuple(rows), caption)


TABLES: Mapping[str, Callable[[Results], Table]] = {
    "curvature": curvature_table,
    "anisotropy": anisotropy_table,
    "layers": layers_table,
    "sharpness": sharpness_table,
    "samples": samples_table,
    "eigenspaces": eigenspaces_table,
    "overlap": overlap_table,
    "second_opinion": second_opinion_table,
}
