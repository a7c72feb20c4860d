"""Feature geometry of one condition: against the clean inputs, and against the reference on the same inputs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from geomlab import params, stats
from geomlab.data.batches import Batches
from geomlab.features import classes, manifold, similarity
from geomlab.features.extraction import extract, normalised
from geomlab.landscape import directions
from geomlab.measure.base import Single, dataset
from geomlab.subject import Subject
from geomlab.typing import Features

MIN_SAMPLES = 8  # below this no interval of CKA means anything
Pair = tuple[float, float]
UNDEFINED: Pair = (float("nan"), float("nan"))
_SIMILARITIES = (
    "cka_to_clean",
    "gram_drift",
    "reference_cka",
    "reference_gram_drift",
    "reference_procrustes",
)
_NEED_TWINS = ("cka_to_clean", "gram_drift", "gram_volume")


@dataclass(frozen=True, eq=False)
class FeatureGeometry(Single):
    """CKA, Gram drift, centroid cosine, LID and Gram volume in every layer.

    Attributes:
        reference: network compared with on the same inputs, or None.
        layers: regular expression of inner layers; None takes the blocks.
        k: neighbours of the LID, 20 as in Ma et al. 2018 (arXiv 1801.02613); fewer where there are fewer samples.
        rho: relative size of the weight perturbation of the Gram volume (ours, METHOD.md [O]).
        subspace: parameters that this perturbation moves.
    """

    reference: Subject | None = None
    layers: str | None = None
    k: int = 20
    rho: float = 0.05
    subspace: str = "full"

    name = "features"

    @property
    def parameters(self) -> dict[str, Any]:
        """All attributes but the reference, which is part of the cell's key."""
        return {"layers": self.layers, "k": self.k, "rho": self.rho, "subspace": self.subspace}

    def __call__(self, subject: Subject, batches: Batches, generator: torch.Generator) -> xr.Dataset:
        """Measure; see `Measurement`. Deterministic."""
        layers = subject.layers(self.layers)
        names = params.select(subject.weights, self.subspace)
        step = directions.adversarial(subject, batches, names, rho=self.rho)
        perturbed = subject.at({name: subject.weights[name] + step[name] for name in names})
        here = extract(subject, batches, layers)
        clean = extract(subject, batches.on_clean(), layers)
        bent = extract(perturbed, batches, layers)
        rows = {name: self._layer(batches, here[name], clean[name], bent[name]) for name in here}
        warnings, lost = self._warnings(batches), []
        if batches.paired and not directions.norm(step):
            warnings.append(
                f"--params '{self.subspace}' selects no matrix with a gradient, and only matrices move, by their own "
                "norm: Gram volume's third vector equals its second, and the volume is 0 by construction"
            )
        if self.reference is not None:
            theirs = extract(self.reference, batches, shared_layers(self.reference, layers))
            for name in here:
                rows[name].update(self._against(here[name], theirs.get(name)))
            lost = [name for name in here if name not in theirs]
            if lost:
                warnings.append(f"the reference has no layers {', '.join(lost[:5])}: not compared there")
        warnings += _undefined(rows, batches, lost)
        values: dict[str, Any] = {}
        for measure in next(iter(rows.values())):
            pairs = np.array([row[measure] for row in rows.values()])
            values[measure], values[f"{measure}_stderr"] = ("layer", pairs[:, 0]), ("layer", pairs[:, 1])
        values |= {"n": len(batches), "paired": int(batches.paired), "lid_k": self._k(batches)}
        return dataset(values, {"layer": list(rows)}, warnings)

    def _layer(self, batches: Batches, x: Tensor, clean: Tensor, bent: Tensor) -> dict[str, Pair]:
        unit, unit_clean = normalised(x), normalised(clean)
        labels, clean_labels = batches.labels.cpu(), batches.clean_labels.cpu()
        k = self._k(batches)
        dims, clean_dims = (
            f.new_full((len(f),), np.nan)
            if k < 2 or similarity.is_constant(f, x.dtype)
            else manifold.lid(f, k)
            for f in (unit, unit_clean)
        )
        if batches.paired:
            cosine = _jackknifed(
                lambda r: classes.centroid_cosine(unit[r], labels[r], unit_clean[r], clean_labels[r]), len(x)
            )
            change = _mean(dims - clean_dims)
        else:
            cosine = _two_samples(unit, labels, unit_clean, clean_labels)
            (a, sa), (b, sb) = _mean(dims), _mean(clean_dims)
            change = (a - b, float(np.hypot(sa, sb)))
        return {
            "cka_to_clean": with_error(similarity.cka, x, clean, paired=batches.paired),
            "gram_drift": with_error(similarity.gram_drift, x, clean, paired=batches.paired),
            "centroid_cosine": cosine,
            "lid": _mean(dims),
            "delta_lid": change,
            "gram_volume": _mean(manifold.gram_volume(clean, x, bent)) if batches.paired else UNDEFINED,
        }

    def _against(self, x: Tensor, theirs: Tensor | None) -> dict[str, Pair]:
        measures: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
            "cka": similarity.cka,
            "gram_drift": similarity.gram_drift,
            "procrustes": similarity.procrustes,
        }
        return {
            f"reference_{name}": UNDEFINED if theirs is None else with_error(measure, x, theirs, paired=True)
            for name, measure in measures.items()
        }

    def _k(self, batches: Batches) -> int:
        return min(self.k, len(batches.labels) - 1, len(batches.clean_labels) - 1)

    def _warnings(self, batches: Batches) -> list[str]:
        found = []
        if not batches.paired:
            found.append(
                "these inputs are not the clean samples seen anew: "
                "CKA, Gram drift and Gram volume to clean are not defined"
            )
        if self._k(batches) < self.k:
            found.append(f"LID uses k = {self._k(batches)} instead of {self.k}: too few samples")
        if len(batches) < MIN_SAMPLES:
            found.append(f"{len(batches)} samples are too few for similarities; use at least {MIN_SAMPLES}")
        return found


def _undefined(rows: dict[str, dict[str, Pair]], batches: Batches, lost: list[str]) -> list[str]:
    """Sentences on numbers that are not defined for a reason no other warning gives."""
    found = []
    for measure in next(iter(rows.values())):
        few = measure in _SIMILARITIES and len(batches) < MIN_SAMPLES
        if few or (measure in _NEED_TWINS and not batches.paired):
            continue
        known = lost if measure.startswith("reference_") else []
        where = [name for name, row in rows.items() if np.isnan(row[measure][0]) and name not in known]
        if where:
            found.append(
                f"{measure} not defined in {', '.join(where[:5])}: constant features, or no class in common"
            )
    return found


def shared_layers(reference: Subject, layers: list[str]) -> list[str]:
    """Those of the layers that a reference has too."""
    there = dict(reference.module.named_modules())
    return [name for name in layers if name in there]


def with_error(measure: Callable[[Tensor, Tensor], Tensor], x: Features, y: Tensor, *, paired: bool) -> Pair:
    """A similarity of two representations and its standard error; NaN of other samples, or of too few.

    Args:
        measure: of `features.similarity`.
        x: (n, d) features.
        y: (m, d') features.
        paired: whether both are of the same samples.
    """
    if not paired or len(x) < MIN_SAMPLES:
        return UNDEFINED
    return _jackknifed(lambda rows: measure(x[rows], y[rows]), len(x))


def _jackknifed(statistic: Callable[[Tensor], Tensor], n: int) -> Pair:
    """Value on all samples, standard error by the delete-a-group jackknife."""
    value = float(statistic(torch.arange(n)))
    (stderr,) = stats.jackknife(lambda rows: [float(statistic(torch.from_numpy(rows)))], n)
    return value, float(stderr)


def _two_samples(x: Tensor, labels: Tensor, y: Tensor, other: Tensor) -> Pair:
    """Centroid cosine of unpaired samples: the errors of either side add in squares."""
    value, first = _jackknifed(lambda r: classes.centroid_cosine(x[r], labels[r], y, other), len(x))
    _, second = _jackknifed(lambda r: classes.centroid_cosine(x, labels, y[r], other[r]), len(y))
    return value, float(np.hypot(first, second))


def _mean(values: Tensor) -> Pair:
    """Mean and standard error over the samples where the value is defined."""
    defined = values[torch.isfinite(values)].numpy()
    return stats.mean_stderr(defined) if len(defined) else UNDEFINED
