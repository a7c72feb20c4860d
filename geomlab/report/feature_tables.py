"""The tables of features: how far they are from clean ones, their classes and dimensions, and from a reference's."""

import math
from collections.abc import Callable, Mapping
from functools import partial

import xarray as xr

from geomlab.report.cells import count, scalar, text
from geomlab.report.entries import ONE_ERROR, Row, each, last_layer, leading, stderr_cell
from geomlab.results import Results
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
BY_CLASS = {"class_cosine": "centroid cosine", "class_gram_drift": "Gram drift"}
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
    """Some of the numbers at every layer, of results that have them."""
    rows: list[Row] = [
        (*lead, str(layer), *_cells(one.sel(layer=layer), one, columns))
        for lead, one in each(results, "features")
        if set(columns) & set(one.data_vars)
        for layer in one["layer"].values
    ]
    return Table(title, (*leading(results), "layer", *columns.values()), tuple(rows), caption)


def class_table(results: Results) -> Table:
    """Which classes' centroids turned."""
    rows: list[Row] = []
    for lead, one in each(results, "features"):
        if "class_cosine" in one:
            last = last_layer(one)
            for number in one["class"].values:
                at = last.sel({"class": number})
                rows.append((*lead, _class_name(at, number), *_cells(at, one, BY_CLASS)))
    caption = (
        "Of a class's centroid with that of its clean inputs, and of the Gram matrix of its own samples, of what feeds "
        f"the last linear map. {ONE_ERROR}"
    )
    columns = (*leading(results), "class", *BY_CLASS.values())
    return Table("Which classes moved", columns, tuple(rows), caption)


def last_table(results: Results) -> Table:
    """Neural collapse against the head, and the modality gap of a CLIP."""
    known = results.data.get("features", xr.Dataset()).data_vars
    columns = {name: header for name, header in LAST.items() if name in known}
    rows: list[Row] = [
        (*lead, *_cells(one, one, columns)) for lead, one in each(results, "features") if "nc3" in one
    ]
    caption = (
        "NC3 is the distance of the head's weights from the class centroids, both less their means and of unit norm, "
        "0 at collapse; NC4 the share of samples that the network gives the class of the nearest clean centroid, 1 at "
        "collapse, with its 95 % Wilson interval. The gap is between the mean image and the mean text. "
        f"{ONE_ERROR}"
    )
    return Table("Head and texts", (*leading(results), *columns.values()), tuple(rows), caption)


def _class_name(at: xr.Dataset, number: object) -> str:
    """Its name, where it is known, else its number."""
    name = text(at, "class_name")
    return name or str(number)


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
        caption="The same inputs, at weights perturbed against them by a small share of each matrix's norm, against "
        f"the checkpoint's own. {ONE_ERROR}",
    ),
    "features_last": last_table,
    "class_cosines": class_table,
    "reference": reference_table,
}
