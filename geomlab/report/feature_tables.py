"""The tables of features: how far they are from clean ones, their classes and dimensions, and from a reference's."""

import math
from collections.abc import Callable, Mapping
from functools import partial

import xarray as xr

from geomlab.report.cells import count, scalar
from geomlab.report.entries import ONE_ERROR, Row, each, leading, stderr_cell
from geomlab.results import Results
from geomlab.results.features import class_names, last_layer
from geomlab.tables import Cell, Table

Columns = Mapping[str, str]  # variable -> header
TO_CLEAN = {
    "cka_to_clean": "CKA to clean",
    "gram_drift": "Gram drift",
    "centroid_cosine": "centroid cosine",
    "lid": "LID",
    "delta_lid": "ΔLID",
    "gram_volume": "Gram volume",
}
SIMILARITIES = {
    "rbf_cka_to_clean": "RBF CKA",
    "angular_to_clean": "angle of shapes",
    "rsa_to_clean": "RSA",
    "svcca_to_clean": "SVCCA",
    "pwcca_to_clean": "PWCCA",
    "knn_to_clean": "mutual k-NN",
    "alignment_to_clean": "alignment",
    "cka_outliers": "CKA less far 1 %",
}
CLASSES = {
    "input_shift": "shift by inputs",
    "weight_shift": "shift by weights",
    "discrepancy": "discrepancy",
    "class_separation": "separation",
    "nc1": "NC1",
    "nc2_norms": "NC2 norms",
    "nc2_angles": "NC2 angles",
    "nc2_simplex": "NC2 simplex",
}
DIMENSIONS = {
    "two_nn": "TwoNN",
    "participation_ratio": "participation ratio",
    "effective_rank": "effective rank",
    "uniformity": "uniformity",
}
WEIGHTS = {
    "weights_cka": "CKA",
    "weights_gram_drift": "Gram drift",
    "weights_angular": "angle of shapes",
    "weights_knn": "mutual k-NN",
    "weights_centroid_cosine": "centroid cosine",
    "weights_delta_lid": "ΔLID",
}
LAST = {
    "nc3": "NC3",
    "nc4": "NC4",
    "modality_gap": "modality gap",
    "modality_gap_change": "change of the gap",
    "modality_shift": "shift of the images",
}
CLASS = {"class_cosine": "cosine", "class_gram_drift": "Gram drift"}
TO_REFERENCE = {
    "reference_cka": "CKA",
    "reference_gram_drift": "Gram drift",
    "reference_procrustes": "Procrustes distance",
}
CLEAN = f"Against the same network's features of clean inputs. {ONE_ERROR}"


def features_table(results: Results) -> Table:
    """How far the last features moved from clean."""
    rows: list[Row] = [
        (*lead, *_cells(last_layer(one), one, TO_CLEAN)) for lead, one in each(results, "features")
    ]
    caption = (
        f"Of what feeds the last linear map, against the same network's features of clean inputs. {ONE_ERROR}"
    )
    return Table("Features", (*leading(results), *TO_CLEAN.values()), tuple(rows), caption)


def layers_table(results: Results, *, title: str, columns: Columns, caption: str) -> Table:
    """Some of the numbers at every layer, of results that have any of them; older ones may lack some."""
    there = _there(results, columns)
    rows: list[Row] = [
        (*lead, str(layer), *_cells(part.sel(layer=layer), one, there))
        for lead, one in each(results, "features")
        if there
        for part in (_only(one, there),)
        for layer in one["layer"].values
    ]
    return Table(title, (*leading(results), "layer", *there.values()), tuple(rows), caption)


def class_table(results: Results) -> Table:
    """Which classes' centroids turned, and whose Gram matrices changed."""
    there, rows = _there(results, CLASS), []
    for lead, one in each(results, "features"):
        if there:
            last, names = last_layer(_only(one, there)), class_names(one)
            for number in one["class"].values:
                at = last.sel({"class": number})
                n = _members(one, int(number))
                rows.append((*lead, names[int(number)], *(_cell(at, name, n) for name in there)))
    caption = (
        "Of what feeds the last linear map: cosine of a class's centroid with that of its clean inputs, and relative "
        f"change of the Gram matrix of its samples, by the name or number of the class. {ONE_ERROR}"
    )
    return Table(
        "How far each class moved", (*leading(results), "class", *there.values()), tuple(rows), caption
    )


def _members(one: xr.Dataset, number: int) -> int | None:
    """Samples of a class, where their classes are stored."""
    return int((one["sample_label"] == number).sum()) if "sample_label" in one else count(one)


def last_table(results: Results) -> Table:
    """Neural collapse against the head, and the modality gap of a CLIP."""
    there = _there(results, LAST)
    rows: list[Row] = [
        (*lead, *_cells(one, one, there)) for lead, one in each(results, "features") if "nc3" in there
    ]
    caption = (
        "NC3 is the distance of the head's weights from the class centroids, both less their means and of unit norm, "
        "0 at collapse; NC4 the share of samples that the network gives the class of the nearest clean centroid, 1 at "
        "collapse, with its 95 % Wilson interval. The gap is between the mean image and the mean text. "
        f"{ONE_ERROR}"
    )
    return Table("Head and texts", (*leading(results), *there.values()), tuple(rows), caption)


def reference_table(results: Results) -> Table:
    """How far the last features are from the reference's on the same inputs."""
    rows: list[Row] = [
        (*lead, *_cells(last_layer(one), one, TO_REFERENCE))
        for lead, one in each(results, "features")
        if any(math.isfinite(scalar(last_layer(one), name)) for name in TO_REFERENCE)
    ]
    caption = f"Features of the network against those of the reference on the same inputs. {ONE_ERROR}"
    return Table(
        "Features against the reference", (*leading(results), *TO_REFERENCE.values()), tuple(rows), caption
    )


def _there(results: Results, columns: Columns) -> Columns:
    """The columns for which some cell has a variable."""
    found = results["features"].data_vars if "features" in results else ()
    return {name: header for name, header in columns.items() if name in found}


def _only(one: xr.Dataset, columns: Columns) -> xr.Dataset:
    """What the columns show: of a cell of a hundred variables, each selection takes them all."""
    return one[[name for column in columns for name in (column, f"{column}_stderr") if name in one]]


def _cells(layer: xr.Dataset, one: xr.Dataset, columns: Columns) -> list[Cell]:
    """Of one layer; of what has no error the number alone."""
    return [_cell(layer, name, count(one)) for name in columns]


def _cell(layer: xr.Dataset, name: str, n: int | None) -> Cell:
    if f"{name}_stderr" in layer:
        return stderr_cell(layer, name, n=n)
    if f"{name}_low" in layer:
        return Cell(scalar(layer, name), (scalar(layer, f"{name}_low"), scalar(layer, f"{name}_high")), n)
    return Cell(scalar(layer, name), n=n)


TABLES: Mapping[str, Callable[[Results], Table]] = {
    "features": features_table,
    "features_layers": partial(layers_table, title="Features of each layer", columns=TO_CLEAN, caption=CLEAN),
    "features_similarity": partial(
        layers_table,
        title="Similarity to clean features",
        columns=SIMILARITIES,
        caption=f"{CLEAN} The last column is how far the CKA moves when the samples of largest norm leave.",
    ),
    "features_classes": partial(
        layers_table,
        title="Classes in feature space",
        columns=CLASSES,
        caption="Shifts are mean relative moves of the class centroids, by the inputs and by perturbed weights; the "
        f"discrepancy is of Lemma 3.2, without its Lipschitz constant; NC is 0 at neural collapse. {ONE_ERROR}",
    ),
    "features_dimensions": partial(
        layers_table,
        title="Dimension of features",
        columns=DIMENSIONS,
        caption=f"TwoNN and uniformity of unit features, the others of the covariance's spectrum. {ONE_ERROR}",
    ),
    "features_weights": partial(
        layers_table,
        title="Features at perturbed weights",
        columns=WEIGHTS,
        caption="Of the same inputs, at perturbed weights against those at the checkpoint's: what the weights do to "
        f"them, beside what the inputs do. {ONE_ERROR}",
    ),
    "features_last": last_table,
    "class_cosines": class_table,
    "reference": reference_table,
}
