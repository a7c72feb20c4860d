"""Feature geometry of all conditions, in every layer: the clean features are taken once for all of them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from geomlab import params
from geomlab.data.batches import Batches
from geomlab.devices import GIBIBYTE
from geomlab.features import index
from geomlab.features.extraction import POOLINGS, extract
from geomlab.features.head import Head, linear_head
from geomlab.features.intervals import MIN_SAMPLES
from geomlab.features.kernel_pairs import rbf_cka_of_layers
from geomlab.features.layer_pairs import cka_of_layers
from geomlab.features.store import FeatureStore
from geomlab.landscape import directions
from geomlab.measure.base import Joint, Realise, Tiles, dataset
from geomlab.measure.features.last import LastLayer, texts_of
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
from geomlab.measure.features.projection import Projection, library
from geomlab.subject import FEATURES, Subject
from geomlab.typing import Features, Float

DIMENSIONS = "_dimensions"  # in a tile: of each array, as JSON
PRECISIONS = ("float32", "float16")
MEMORY = 4 * GIBIBYTE  # bytes: ours
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
OUTSIDE = ("reference", "seed", "memory")  # of what the cell's key says by itself, or that changes no number


@dataclass(frozen=True, eq=False)
class FeatureGeometry(Joint):
    """Similarity to clean features, class geometry, dimension, and similarity to a reference's, in every layer.

    Attributes:
        reference: network compared with on the same inputs, or None.
        layers: regular expression of inner layers; None takes the blocks.
        k: neighbours of the LID, 20 as in Ma et al. 2018 (arXiv 1801.02613); fewer where half the samples have fewer.
        rho: relative size of the weight perturbation of the Gram volume (ours, METHOD.md [O]).
        subspace: parameters that this perturbation moves.
        pooling: of tokens, of `extraction.POOLINGS`.
        projection: of `projection.PROJECTIONS`, for the eye.
        on_disk: of `PRECISIONS`, of features that do not fit the memory; half precision halves them and rounds.
        seed: of UMAP.
        memory: bytes of features that are held, of clean inputs and again of a condition; what is beyond lies in files
            until the measurement is done.
    """

    reference: Subject | None = None
    layers: str | None = None
    k: int = 20
    rho: float = 0.05
    subspace: str = "full"
    pooling: str = POOLINGS[0]
    projection: str = "pca"
    on_disk: str = PRECISIONS[0]
    seed: int = 0
    memory: float = MEMORY

    name = "features"
    revision = 3

    @property
    def parameters(self) -> dict[str, Any]:
        """All attributes but the reference, which is part of the cell's key, the seed, which is too, and the memory."""
        return {name: value for name, value in vars(self).items() if name not in OUTSIDE}

    def check(self, subject: Subject, clean: Batches) -> None:
        """Whether there are the libraries that UMAP and the index of many samples need; see `Measurement`."""
        del subject
        if self.projection == "umap":
            library()
        if len(clean) >= index.LEAST:
            index.library()

    def together(
        self,
        subject: Subject,
        inputs: Mapping[str, Batches],
        clean: Batches,
        tiles: Tiles,
        attacks: Mapping[str, Realise] = MappingProxyType({}),
    ) -> dict[str, xr.Dataset]:
        """Measure; see `Joint`. A condition is a tile."""
        del clean, attacks  # each condition has its clean counterparts, which are most often the same
        found: dict[str, xr.Dataset] = {}
        seen: dict[int, _Clean] = {}
        layers = subject.layers(self.layers)
        with self._store() as store:
            for name, batches in inputs.items():
                held = tiles.read(name, 0)
                if held is None:
                    key = id(batches.clean)
                    if key not in seen:
                        seen[key] = self._clean(subject, batches, layers, store)
                    found[name] = self._measured(subject, batches, seen[key])
                    tiles.write(name, 0, _arrays(found[name]))
                else:
                    found[name] = _dataset(held)
        return found

    def _store(self) -> FeatureStore:
        return FeatureStore(int(self.memory), half=self.on_disk == "float16")

    def _clean(self, subject: Subject, batches: Batches, layers: list[str], store: FeatureStore) -> "_Clean":
        features = extract(subject, batches.on_clean(), layers, pooling=self.pooling, store=store)
        return _Clean(
            features,
            linear_head(subject, batches.clean[:2]),
            texts_of(subject),
            Projection.of(features[FEATURES], kind=self.projection, seed=self.seed),
        )

    def _measured(self, subject: Subject, batches: Batches, before: "_Clean") -> xr.Dataset:
        clean, layers = before.features, list(before.features)[:-1]
        perturbed, warnings = self._perturbed(subject, batches)
        with self._store() as store:
            same = batches.images is batches.clean
            here = clean if same else self._extracted(subject, batches, layers, store)
            bent = self._extracted(perturbed, batches, layers, store)
            theirs: Mapping[str, Features] = {}
            if self.reference is not None:
                shared = shared_layers(self.reference, layers)
                theirs = self._extracted(self.reference, batches, shared, store)
            some = _some(len(batches), self.seed)
            views = {name: self._views(batches, here[name], clean[name], bent[name], some) for name in here}
            own = LayerMatrix(cka_of_layers, here, clean, paired=batches.paired)
            curved = LayerMatrix(rbf_cka_of_layers, here, clean, paired=batches.paired, rows=some)
            nearest = {name: Nearest(view, self.seed) for name, view in views.items()}
            against = LayerMatrix(cka_of_layers, here, theirs, paired=True)
            rows = {
                name: {
                    "cka_to_clean": own.between(name, name),
                    "rbf_cka_to_clean": curved.between(name, name),
                    **view.numbers(),
                    **nearest[name].numbers(),
                }
                for name, view in views.items()
            }
            if self.reference is not None:
                for name, row in rows.items():
                    row["reference_cka"] = against.between(name, name)
                    row.update(views[name].to_reference(theirs.get(name)))
            last = LastLayer(views[FEATURES], before.head, before.texts, before.projection)
            values = {**_by_layer(rows), **_by_class(views), **last.values()}
            left_out = {**views[FEATURES].left_out, "cka_to_clean": own.left_out(FEATURES, FEATURES)}
            outliers = [view.outliers(theirs.get(name)) for name, view in views.items()]
        lost = [name for name in here if self.reference is not None and name not in theirs]
        if lost:
            warnings.append(f"the reference has no layers {', '.join(lost[:5])}: not compared there")
        warnings += _undefined(rows, views, batches, lost)
        warnings += [f"{names} not defined: {why}" for names, why in last.reasons.items()]
        values |= _exactly(nearest)
        values |= {name: ("layer", np.array([one[name] for one in outliers])) for name in outliers[0]}
        values |= own.variables("cka_matrix", "clean_layer")
        values |= curved.variables("rbf_cka_matrix", "clean_layer")
        values |= {
            f"{name}_left_out": ("group", one.numpy())
            for name in COMPARED
            if (one := left_out.get(name)) is not None
        }
        values |= {"n": len(batches), "paired": int(batches.paired), "lid_k": self._k(batches)}
        values |= {"pooling": self.pooling, "samples_sha256": batches.samples}
        coords: dict[str, Any] = {"layer": list(rows), "class": np.arange(views[FEATURES].count)}
        coords |= own.coordinate("clean_layer")
        if subject.classes is not None and len(subject.classes) >= views[FEATURES].count:
            values["class_name"] = ("class", np.array(subject.classes[: views[FEATURES].count]))
        if self.reference is not None:
            values |= against.variables("reference_cka_matrix", "reference_layer")
            coords |= against.coordinate("reference_layer")
        return dataset(values, coords, warnings)

    def _extracted(
        self, network: Subject, batches: Batches, layers: list[str], store: FeatureStore
    ) -> dict[str, Features]:
        return extract(network, batches, layers, pooling=self.pooling, store=store)

    def _perturbed(self, subject: Subject, batches: Batches) -> tuple[Subject, list[str]]:
        """The network where its weights are perturbed against these inputs, and warnings so far."""
        names = params.select(subject.weights, self.subspace)
        step = directions.adversarial(subject, batches, names, rho=self.rho)
        warnings = self._warnings(batches)
        if batches.paired and not directions.norm(step):
            warnings.append(
                f"--params '{self.subspace}' selects no matrix with a gradient, and only matrices move, by their own "
                "norm: Gram volume's third vector equals its second, and the volume is 0 by construction"
            )
        return subject.at({name: subject.weights[name] + step[name] for name in names}), warnings

    def _views(self, batches: Batches, here: Features, clean: Tensor, bent: Features, some: Tensor) -> Views:
        labels, clean_labels = batches.labels.cpu(), batches.clean_labels.cpu()
        return Views(here, clean, bent, labels, clean_labels, batches.paired, self._k(batches), some)

    def _k(self, batches: Batches) -> int:
        """Neighbours that half of the samples have too, of which the interval is made."""
        return min(self.k, *(n // 2 - 1 for n in (len(batches.labels), len(batches.clean_labels))))

    def _warnings(self, batches: Batches) -> list[str]:
        found = []
        if not batches.paired:
            found.append(
                "these inputs are not the clean samples seen anew: "
                "similarities to clean, alignment and Gram volume are not defined"
            )
        if self._k(batches) < 2:
            found.append("LID is not defined: half of the samples have no two neighbours; use at least 6")
        elif self._k(batches) < self.k:
            found.append(f"LID uses k = {self._k(batches)} instead of {self.k}: too few samples")
        if len(batches) >= index.LEAST:
            found.append(
                f"RSA, RBF CKA and uniformity are of {PAIRED} of the {len(batches)} samples, and nearest neighbours by "
                "an index, beside exact ones of a part of them"
            )
        if len(batches) < MIN_SAMPLES:
            found.append(f"{len(batches)} samples are too few for similarities; use at least {MIN_SAMPLES}")
        return found


@dataclass(frozen=True, eq=False)
class _Clean:
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


def _by_layer(rows: Mapping[str, Mapping[str, Pair]]) -> dict[str, Any]:
    """Variables with a value a layer, and their errors."""
    values: dict[str, Any] = {}
    for measure in next(iter(rows.values())):
        pairs = np.array([row[measure] for row in rows.values()])
        values[measure], values[f"{measure}_stderr"] = ("layer", pairs[:, 0]), ("layer", pairs[:, 1])
    return values


def _some(n: int, seed: int) -> Tensor:
    """The samples of which all pairs are looked at: all, or of many a random part."""
    if n < index.LEAST:
        return torch.arange(n)
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed))[:PAIRED].sort().values


def _exactly(nearest: Mapping[str, Nearest]) -> dict[str, Any]:
    """Variables of what was measured by the index: the same of the checked samples exactly, and its recall."""
    found: dict[str, Any] = {}
    for name in next(iter(nearest.values())).exact:
        pairs = np.array([one.exact.get(name, UNDEFINED) for one in nearest.values()])
        found[f"{name}_exact"], found[f"{name}_exact_stderr"] = ("layer", pairs[:, 0]), ("layer", pairs[:, 1])
    if found:
        recall = [min(one.recall.values(), default=np.nan) for one in nearest.values()]
        found["index_recall"] = ("layer", np.array(recall))
    return found


def _by_class(views: Mapping[str, Views]) -> dict[str, Any]:
    """Variables with a value a layer and class."""
    every = [view.of_each_class() for view in views.values()]
    return {name: (("layer", "class"), np.array([one[name].numpy() for one in every])) for name in every[0]}


def _undefined(
    rows: Mapping[str, Mapping[str, Pair]], views: Mapping[str, Views], batches: Batches, lost: list[str]
) -> list[str]:
    """Sentences on numbers that are not defined for a reason no other warning gives."""
    found: dict[tuple[str, str], list[str]] = {}
    for measure in next(iter(rows.values())):
        few = measure in SIMILARITIES and len(batches) < MIN_SAMPLES
        if few or (measure in TWINS and not batches.paired):
            continue
        known = lost if measure in TO_REFERENCE else []
        where = [name for name, row in rows.items() if np.isnan(row[measure][0]) and name not in known]
        if where:
            usual = "constant features, or no class in common"
            why = next(
                (views[name].reasons[measure] for name in where if measure in views[name].reasons), usual
            )
            found.setdefault((", ".join(where[:5]), why), []).append(measure)
    return [f"{', '.join(every)} not defined in {where}: {why}" for (where, why), every in found.items()]


def shared_layers(reference: Subject, layers: list[str]) -> list[str]:
    """Those of the layers that a reference has too."""
    there = dict(reference.module.named_modules())
    return [name for name in layers if name in there]


def _arrays(found: xr.Dataset) -> dict[str, NDArray[Any]]:
    """A dataset as a tile."""
    every = {**found.coords, **found.data_vars}
    dims = {str(name): one.dims for name, one in every.items()}
    return {
        DIMENSIONS: np.array(json.dumps(dims)),
        **{str(name): np.asarray(one.values) for name, one in every.items()},
    }


def _dataset(held: Mapping[str, NDArray[Any]]) -> xr.Dataset:
    """What `_arrays` was given."""
    dims = json.loads(str(held[DIMENSIONS]))
    values = {name: (tuple(dims[name]), held[name]) for name in dims}
    coords = {name: values.pop(name) for name in list(values) if [name] == dims[name]}
    return xr.Dataset(values, coords)
