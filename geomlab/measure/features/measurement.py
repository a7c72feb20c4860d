"""Feature geometry of all conditions, in every layer: the clean features are taken once for all of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import xarray as xr

from geomlab import params
from geomlab.data.batches import Batches
from geomlab.devices import GIBIBYTE
from geomlab.features import index
from geomlab.features.extraction import POOLINGS, extract
from geomlab.features.head import linear_head
from geomlab.features.intervals import MIN_SAMPLES
from geomlab.features.store import FeatureStore
from geomlab.landscape import directions
from geomlab.measure.base import Joint, Realise, Tiles, dataset
from geomlab.measure.features.condition import PAIRED, CleanSide, Condition
from geomlab.measure.features.last import texts_of
from geomlab.measure.features.projection import Projection, library
from geomlab.measure.features.tile import as_arrays, from_arrays
from geomlab.subject import FEATURES, Subject
from geomlab.typing import Features

PRECISIONS = ("float32", "float16")
MEMORY = 4 * GIBIBYTE  # bytes: ours
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
    revision = 4

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
        seen: dict[int, CleanSide] = {}
        layers = subject.layers(self.layers)
        with self._store() as store:
            for name, batches in inputs.items():
                held = tiles.read(name, 0)
                if held is None:
                    key = id(batches.clean)
                    if key not in seen:
                        seen[key] = self._clean(subject, batches, layers, store)
                    found[name] = self._measured(subject, batches, seen[key])
                    tiles.write(name, 0, as_arrays(found[name]))
                else:
                    found[name] = from_arrays(held)
        return found

    def _store(self) -> FeatureStore:
        return FeatureStore(int(self.memory), half=self.on_disk == "float16")

    def _clean(
        self, subject: Subject, batches: Batches, layers: list[str], store: FeatureStore
    ) -> "CleanSide":
        features = extract(subject, batches.on_clean(), layers, pooling=self.pooling, store=store)
        return CleanSide(
            features,
            linear_head(subject, batches.clean[:2]),
            texts_of(subject),
            Projection.of(features[FEATURES], kind=self.projection, seed=self.seed),
        )

    def _measured(self, subject: Subject, batches: Batches, before: CleanSide) -> xr.Dataset:
        layers = list(before.features)[:-1]
        perturbed, warnings = self._perturbed(subject, batches)
        with self._store() as store:
            same = batches.images is batches.clean
            here = before.features if same else self._extracted(subject, batches, layers, store)
            bent = self._extracted(perturbed, batches, layers, store)
            theirs = None
            if self.reference is not None:
                shared = shared_layers(self.reference, layers)
                theirs = self._extracted(self.reference, batches, shared, store)
            condition = Condition(batches, before, here, bent, theirs, self._k(batches), self.seed)
            values, coords, undefined = condition.measured()
        values |= {"lid_k": self._k(batches), "pooling": self.pooling, "samples_sha256": batches.samples}
        if subject.classes is not None and len(subject.classes) >= len(coords["class"]):
            values["class_name"] = ("class", np.array(subject.classes[: len(coords["class"])]))
        return dataset(values, coords, warnings + undefined)

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


def shared_layers(reference: Subject, layers: list[str]) -> list[str]:
    """Those of the layers that a reference has too."""
    there = dict(reference.module.named_modules())
    return [name for name in layers if name in there]
