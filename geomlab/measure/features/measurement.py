"""Feature geometry of all conditions, in every layer: the clean features are taken once for all of them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from geomlab import params
from geomlab.data.batches import Batches
from geomlab.devices import GIBIBYTE
from geomlab.features.extraction import extract
from geomlab.features.intervals import MIN_SAMPLES
from geomlab.features.store import FeatureStore
from geomlab.landscape import directions
from geomlab.measure.base import Joint, Realise, Tiles, dataset
from geomlab.measure.features.layer import (
    TO_CLEAN,
    TO_REFERENCE,
    TWINS,
    UNDEFINED,
    Pair,
    Views,
    with_error,
)
from geomlab.subject import Subject
from geomlab.typing import Features

BY_CLASS = ("class_cosine", "class_cosine_stderr")  # variables with a value a class
MEMORY = 4 * GIBIBYTE  # bytes of features that are held, of clean inputs and again of a condition: ours


@dataclass(frozen=True, eq=False)
class FeatureGeometry(Joint):
    """Similarity to clean features, class geometry, dimension, and similarity to a reference's, in every layer.

    Attributes:
        reference: network compared with on the same inputs, or None.
        layers: regular expression of inner layers; None takes the blocks.
        k: neighbours of the LID, 20 as in Ma et al. 2018 (arXiv 1801.02613); fewer where there are fewer samples.
        rho: relative size of the weight perturbation of the Gram volume (ours, METHOD.md [O]).
        subspace: parameters that this perturbation moves.
        memory: bytes of features; what is beyond lies in files until the measurement is done.
    """

    reference: Subject | None = None
    layers: str | None = None
    k: int = 20
    rho: float = 0.05
    subspace: str = "full"
    memory: int = MEMORY

    name = "features"
    revision = 3

    @property
    def parameters(self) -> dict[str, Any]:
        """All attributes but the reference, which is part of the cell's key, and the memory."""
        return {"layers": self.layers, "k": self.k, "rho": self.rho, "subspace": self.subspace}

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
        seen: dict[int, dict[str, Features]] = {}
        layers = subject.layers(self.layers)
        with FeatureStore(self.memory) as store:
            for name, batches in inputs.items():
                held = tiles.read(name, 0)
                if held is None:
                    key = id(batches.clean)
                    if key not in seen:
                        seen[key] = extract(subject, batches.on_clean(), layers, store=store)
                    found[name] = self._measured(subject, batches, seen[key])
                    tiles.write(name, 0, _arrays(found[name]))
                else:
                    found[name] = _dataset(held)
        return found

    def _measured(self, subject: Subject, batches: Batches, clean: Mapping[str, Features]) -> xr.Dataset:
        layers = list(clean)[:-1]
        names = params.select(subject.weights, self.subspace)
        step = directions.adversarial(subject, batches, names, rho=self.rho)
        perturbed = subject.at({name: subject.weights[name] + step[name] for name in names})
        warnings = self._warnings(batches)
        if batches.paired and not directions.norm(step):
            warnings.append(
                f"--params '{self.subspace}' selects no matrix with a gradient, and only matrices move, by their own "
                "norm: Gram volume's third vector equals its second, and the volume is 0 by construction"
            )
        with FeatureStore(self.memory) as store:
            same = batches.images is batches.clean
            here = clean if same else extract(subject, batches, layers, store=store)
            bent = extract(perturbed, batches, layers, store=store)
            theirs: Mapping[str, Features] = {}
            if self.reference is not None:
                shared = shared_layers(self.reference, layers)
                theirs = extract(self.reference, batches, shared, store=store)
            views = {name: self._views(batches, here[name], clean[name], bent[name]) for name in here}
            rows = {name: view.numbers() for name, view in views.items()}
            if self.reference is not None:
                for name, row in rows.items():
                    row.update(_against(here[name], theirs.get(name)))
            by_class = [view.class_cosines() for view in views.values()]
            outliers = [view.outliers() for view in views.values()]
        lost = [name for name in here if self.reference is not None and name not in theirs]
        if lost:
            warnings.append(f"the reference has no layers {', '.join(lost[:5])}: not compared there")
        warnings += _undefined(rows, views, batches, lost)
        values: dict[str, Any] = {}
        for measure in next(iter(rows.values())):
            pairs = np.array([row[measure] for row in rows.values()])
            values[measure], values[f"{measure}_stderr"] = ("layer", pairs[:, 0]), ("layer", pairs[:, 1])
        for number, variable in enumerate(BY_CLASS):
            values[variable] = (("layer", "class"), np.array([one[number].numpy() for one in by_class]))
        values |= {"cka_outliers": ("layer", np.array(outliers))}
        values |= {
            "sample_features": (("sample", "feature"), here["features"][:5000].float().numpy()),
            "sample_label": ("sample", batches.labels[:5000].cpu().numpy()),
            "samples_sha256": batches.samples,
        }
        values |= {"n": len(batches), "paired": int(batches.paired), "lid_k": self._k(batches)}
        coords = {"layer": list(rows), "class": np.arange(values[BY_CLASS[0]][1].shape[1])}
        return dataset(values, coords, warnings)

    def _views(self, batches: Batches, here: Features, clean: Tensor, bent: Features) -> Views:
        labels, clean_labels = batches.labels.cpu(), batches.clean_labels.cpu()
        return Views(here, clean, bent, labels, clean_labels, batches.paired, self._k(batches))

    def _k(self, batches: Batches) -> int:
        return min(self.k, len(batches.labels) - 1, len(batches.clean_labels) - 1)

    def _warnings(self, batches: Batches) -> list[str]:
        found = []
        if not batches.paired:
            found.append(
                "these inputs are not the clean samples seen anew: "
                "similarities to clean, alignment and Gram volume are not defined"
            )
        if self._k(batches) < self.k:
            found.append(f"LID uses k = {self._k(batches)} instead of {self.k}: too few samples")
        if len(batches) < MIN_SAMPLES:
            found.append(f"{len(batches)} samples are too few for similarities; use at least {MIN_SAMPLES}")
        return found


def _against(x: Features, theirs: Tensor | None) -> dict[str, Pair]:
    """Similarities to the reference's features on the same inputs."""
    return {
        name: UNDEFINED if theirs is None else with_error(measure, x, theirs, paired=True)
        for name, measure in TO_REFERENCE.items()
    }


def _undefined(
    rows: Mapping[str, Mapping[str, Pair]], views: Mapping[str, Views], batches: Batches, lost: list[str]
) -> list[str]:
    """Sentences on numbers that are not defined for a reason no other warning gives."""
    found: dict[tuple[str, str], list[str]] = {}
    for measure in next(iter(rows.values())):
        few = measure in (*TO_CLEAN, *TO_REFERENCE) and len(batches) < MIN_SAMPLES
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
    return {str(name): np.asarray(one.values) for name, one in every.items()}


def _dataset(held: Mapping[str, NDArray[Any]]) -> xr.Dataset:
    """What `_arrays` was given."""
    dims = ("layer", "class")
    coords = {"layer": held["layer"].tolist(), "class": held["class"]}
    own = {"sample_features": ("sample", "feature"), "sample_label": ("sample",)}
    values = {
        name: (own.get(name, dims[: one.ndim]), one)
        for name, one in held.items()
        if name not in (*dims, "warnings")
    }
    return dataset(values, coords, json.loads(str(held["warnings"])))
