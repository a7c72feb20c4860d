"""All that is measured of the features of one condition, and what could not be."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from geomlab.data.batches import Batches
from geomlab.features import index
from geomlab.features.head import Head
from geomlab.features.intervals import MIN_SAMPLES
from geomlab.features.kernel_pairs import rbf_cka_of_layers
from geomlab.features.layer_pairs import cka_of_layers
from geomlab.measure.features.last import LastLayer
from geomlab.measure.features.layer import (
    TO_CLEAN,
    TO_REFERENCE,
    TO_UNPERTURBED,
    TWINS,
    UNDEFINED,
    Pair,
    Views,
)
from geomlab.measure.features.matrices import LayerMatrix
from geomlab.measure.features.nearest import Nearest
from geomlab.measure.features.projection import Projection
from geomlab.subject import FEATURES
from geomlab.typing import Float

COMPARED = (  # numbers of the last layer that are stored without each group too, for differences between checkpoints
    "cka_to_clean",
    "gram_drift",
    "centroid_cosine",
    "input_shift",
    "weight_shift",
    "discrepancy",
    "class_separation",
    "gram_volume",
    "participation_ratio",
    "effective_rank",
    "uniformity",
)
PAIRED = 5000  # samples of which all pairs are looked at, where there are more than the index takes: ours
SIMILARITIES = (  # of which none is taken of too few samples
    *TO_CLEAN,
    *TO_REFERENCE,
    *TO_UNPERTURBED,
    "cka_to_clean",
    "rbf_cka_to_clean",
    "knn_to_clean",
    "weights_cka",
    "weights_knn",
    "reference_cka",
)


@dataclass(frozen=True, eq=False)
class CleanSide:
    """What conditions share.

    Attributes:
        features: layer -> (n, d) of the clean inputs.
        head: what takes the last of them.
        texts: the texts', of a CLIP.
        projection: fitted on the last of them.
    """

    features: dict[str, Tensor]
    head: Head | None
    texts: Float[Tensor, "m width"] | None
    projection: Projection | None


@dataclass(frozen=True, eq=False)
class Layer:
    """What is measured of one layer; of its features nothing is held.

    Attributes:
        row: numbers with their standard errors.
        of_classes: (C,) numbers.
        outliers: how far each CKA moves without those of largest norm.
        exact: of numbers that an index gave: the exact ones of a part of the samples.
        recall: of the index, NaN without one.
        variance: (2, components) shares of the principal components, and their standard errors.
        left_out: (groups,) numbers without each group of samples.
        reasons: why a number is not defined.
    """

    row: dict[str, Pair]
    of_classes: dict[str, Tensor]
    outliers: dict[str, float]
    exact: dict[str, Pair]
    recall: float
    variance: Float[Tensor, "2 components"]
    left_out: dict[str, Tensor]
    reasons: dict[str, str]


@dataclass(frozen=True, eq=False)
class Condition:
    """Features of one condition.

    Attributes:
        batches: its inputs.
        before: what conditions share.
        here: layer -> (n, d) features of the inputs, the last one `features`.
        bent: the same at perturbed weights.
        theirs: the reference's, of the layers that it has too; None without one.
        k: neighbours of the LID.
        seed: of the samples of which all pairs are looked at, where they are not all, and of the index.
    """

    batches: Batches
    before: CleanSide
    here: dict[str, Tensor]
    bent: dict[str, Tensor]
    theirs: dict[str, Tensor] | None
    k: int
    seed: int

    def measured(self) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
        """Variables and coordinates of the cell, and sentences on what is not defined."""
        paired = self.batches.paired
        own = LayerMatrix(cka_of_layers, self.here, self.before.features, paired=paired)
        curved = LayerMatrix(
            rbf_cka_of_layers, self.here, self.before.features, paired=paired, rows=self._some
        )
        against = LayerMatrix(cka_of_layers, self.here, self.theirs or {}, paired=True)
        layers = {name: self._layer(name, own, curved, against) for name in self.here}
        last = LastLayer(self._views(FEATURES), self.before.head, self.before.texts, self.before.projection)
        values = {**_by_layer(layers), **last.values()}
        values |= own.variables("cka_matrix", "clean_layer")
        values |= curved.variables("rbf_cka_matrix", "clean_layer")
        left_out = {**layers[FEATURES].left_out, "cka_to_clean": own.left_out(FEATURES, FEATURES)}
        values |= {
            f"{name}_left_out": ("group", one.numpy())
            for name in COMPARED
            if (one := left_out.get(name)) is not None
        }
        values |= {"n": len(self.batches), "paired": int(paired)}
        coords = {"layer": list(layers), "class": np.arange(last.views.count)}
        coords |= own.coordinate("clean_layer")
        if self.theirs is not None:
            values |= against.variables("reference_cka_matrix", "reference_layer")
            coords |= against.coordinate("reference_layer")
        return values, coords, self._undefined(layers, last)

    def _layer(self, name: str, own: LayerMatrix, curved: LayerMatrix, against: LayerMatrix) -> Layer:
        """The copies of its features that its numbers need are given up with this."""
        view = self._views(name)
        nearest = Nearest(view, self.seed)
        row = {
            "cka_to_clean": own.between(name, name),
            "rbf_cka_to_clean": curved.between(name, name),
            **view.numbers(),
            **nearest.numbers(),
        }
        theirs = None
        if self.theirs is not None:
            theirs = self.theirs.get(name)
            row |= {"reference_cka": against.between(name, name), **view.to_reference(theirs)}
        return Layer(
            row,
            view.of_each_class(),
            view.outliers(theirs),
            nearest.exact,
            min(nearest.recall.values(), default=np.nan),
            view.variance_shares(),
            view.left_out,
            view.reasons,
        )

    def _views(self, name: str) -> Views:
        labels, clean_labels = self.batches.labels.cpu(), self.batches.clean_labels.cpu()
        return Views(
            self.here[name],
            self.before.features[name],
            self.bent[name],
            labels,
            clean_labels,
            self.batches.paired,
            self.k,
            self._some,
        )

    @cached_property
    def _some(self) -> Tensor:
        """The samples of which all pairs are looked at: all, or of many a random part."""
        n = len(self.batches)
        if n < index.LEAST:
            return torch.arange(n)
        return torch.randperm(n, generator=torch.Generator().manual_seed(self.seed))[:PAIRED].sort().values

    def _undefined(self, layers: Mapping[str, Layer], last: LastLayer) -> list[str]:
        """Sentences on numbers that are not defined for a reason no other warning gives."""
        lost = [] if self.theirs is None else [name for name in self.here if name not in self.theirs]
        told = [f"the reference has no layers {', '.join(lost[:5])}: not compared there"] if lost else []
        found: dict[tuple[str, str], list[str]] = {}
        for measure in layers[FEATURES].row:
            few = measure in SIMILARITIES and len(self.batches) < MIN_SAMPLES
            if few or (measure in TWINS and not self.batches.paired):
                continue
            known = lost if measure.startswith("reference_") else []
            where = [
                name for name, one in layers.items() if np.isnan(one.row[measure][0]) and name not in known
            ]
            if where:
                usual = "constant features, or no class in common"
                why = next(
                    (layers[name].reasons[measure] for name in where if measure in layers[name].reasons),
                    usual,
                )
                found.setdefault((", ".join(where[:5]), why), []).append(measure)
        told += [f"{', '.join(every)} not defined in {where}: {why}" for (where, why), every in found.items()]
        return told + [f"{names} not defined: {why}" for names, why in last.reasons.items()]


def _by_layer(layers: Mapping[str, Layer]) -> dict[str, Any]:
    """Variables with a value a layer, and their errors."""
    values: dict[str, Any] = {}
    every, first = list(layers.values()), layers[FEATURES]
    for measure in first.row:
        values |= _pairs(measure, [one.row[measure] for one in every])
    exact = dict.fromkeys(measure for one in every for measure in one.exact)
    for measure in exact:
        values |= _pairs(f"{measure}_exact", [one.exact.get(measure, UNDEFINED) for one in every])
    if exact:
        values["index_recall"] = ("layer", np.array([one.recall for one in every]))
    for measure in first.of_classes:
        values[measure] = (("layer", "class"), np.array([one.of_classes[measure].numpy() for one in every]))
    for measure in first.outliers:
        values[measure] = ("layer", np.array([one.outliers[measure] for one in every]))
    shares, errors = np.array([one.variance.numpy() for one in every]).swapaxes(0, 1)
    dims = ("layer", "principal")
    return values | {"variance_share": (dims, shares), "variance_share_stderr": (dims, errors)}


def _pairs(name: str, pairs: list[Pair]) -> dict[str, Any]:
    """A variable and its errors."""
    found = np.array(pairs)
    return {name: ("layer", found[:, 0]), f"{name}_stderr": ("layer", found[:, 1])}
