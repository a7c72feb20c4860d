"""The terms of the robust PAC-Bayes bound, from the cells of curvature, features and drift (METHOD.md, Theorem 3.1).

What cannot be measured is swept: σ over decades about that of the least (A) + (B), L_f over decades about 1, and n, the
samples θ was trained on, where it is not given. λ* is taken as 0. This says which term is large; it certifies nothing.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import isnan, nan, sqrt
from typing import Any

import numpy as np
import torch
import xarray as xr

from geomlab.features.bound import Evidence, Terms, best_sigma, sweep
from geomlab.features.discrepancy import LEAST, class_distances, shared_priors
from geomlab.features.extraction import normalised
from geomlab.features.intervals import jackknifed
from geomlab.measure.base import Derived, dataset
from geomlab.measure.drift import NO_TWIN

LIPSCHITZ = (0.01, 0.1, 1.0, 10.0, 100.0)  # L_f that is swept, per squared unit of unit features: ours
TRAINED_ON = (100, 10_000, 1_000_000)  # n that is swept where it is not given: ours
STEPS, DECADES = 8, 3  # of σ: steps a decade, and decades to either side: ours
UNKNOWN = (nan, nan)
OF_DRIFT = ("proximity", "sigma_best")
AT_BEST = "(A) + (B) is least"


@dataclass(frozen=True)
class Apart:
    """Two conditions.

    Attributes:
        value: 2 Σ_c π_c (…) of Lemma 3.2, of unit features; NaN where it is not defined.
        stderr: by the delete-a-group jackknife.
        paired: whether the samples are the same.
        classes: with π_c > 0: those that both sides have enough samples of.
        of: classes that either has.
        reason: why it is not defined, else "".
    """

    value: float
    stderr: float
    paired: bool
    classes: int
    of: int
    reason: str = ""


@dataclass(frozen=True)
class Bound(Derived):
    """Terms (A), (B) and (C) over σ, with their errors.

    (B) is of the condition with the largest trace, and (C) of the two conditions farthest apart, as the robust risk is
    the worst case over conditions; the largest of several noisy numbers reads too large.

    Attributes:
        trained_on: n, the samples that θ was trained on; None sweeps it.
        lipschitz: L_f to sweep.
        joint_error: λ*.
    """

    trained_on: int | None = None
    lipschitz: tuple[float, ...] = LIPSCHITZ
    joint_error: float = 0.0

    name = "bound"
    sources = ("accuracy", "curvature", "features", "drift")

    @property
    def parameters(self) -> dict[str, Any]:
        """All attributes; the cells it is of come on top (`Study`)."""
        return dict(vars(self))

    def __call__(self, cells: Mapping[str, Mapping[str, xr.Dataset]]) -> xr.Dataset:
        """Derive; see `Derived`."""
        traces = {name: _number(one, "trace") for name, one in cells["curvature"].items()}
        sharpest = max(traces, key=lambda name: traces[name][0])
        apart = distances(cells["features"])
        moved = cells["drift"][""]
        drift = float(moved["absolute"])
        sizes = (self.trained_on,) if self.trained_on else TRAINED_ON
        evidence = [Evidence(drift, n, *traces[sharpest], *_defined(apart)) for n in sizes]
        sigma, at, at_is = grid(evidence)
        terms = [sweep(one, sigma, lipschitz=1, joint_error=self.joint_error) for one in evidence]
        risk = _risk(cells)
        values = {
            **_over_sigma(terms),
            **self._over_lipschitz(evidence[0]),
            "sigma_best": ("trained_on", [best_sigma(drift, n, traces[sharpest][0]) or nan for n in sizes]),
            "at": ("trained_on", at),
            "at_is": at_is,
            "drift": drift if moved.sizes["layer"] else nan,
            **_traces(cells["curvature"], traces),
            "sharpest": sharpest,
            **_apart(apart),
            "farthest": terms[0].pair,
            **risk,
            "joint_error": self.joint_error,
            "n_known": int(self.trained_on is not None),
        }
        coords = {
            "trained_on": list(sizes),
            "lipschitz": list(self.lipschitz),
            "risk": list(traces),
            "pair": list(apart),
        }
        said = _of_drift(moved) + self._warnings(traces, apart, terms[0], at_is)
        if isnan(risk["clean_loss"]):
            said.append("clean inputs were not measured, so R̂_ID is not known")
        found = dataset(values, coords, said)
        return found if moved.sizes["layer"] else found.assign({name: nan * found[name] for name in OF_DRIFT})

    def _over_lipschitz(self, evidence: Evidence) -> dict[str, Any]:
        found = [
            sweep(evidence, 1.0, lipschitz=value, joint_error=self.joint_error) for value in self.lipschitz
        ]
        return {
            "discrepancy": ("lipschitz", [one.discrepancy[0] for one in found]),
            "discrepancy_stderr": ("lipschitz", [one.discrepancy_stderr[0] for one in found]),
        }

    def _warnings(
        self, traces: Mapping[str, tuple[float, float]], apart: Mapping[str, Apart], terms: Terms, at_is: str
    ) -> list[str]:
        said = []
        if self.trained_on is None:
            swept = ", ".join(f"{n:,}" for n in TRAINED_ON)
            said.append(
                f"n, the samples it was trained on, is not known: swept over {swept}; --trained-on N gives it"
            )
        below = [name for name, (value, _) in traces.items() if value < 0]
        if len(below) == len(traces):
            said.append("(B) is negative: Tr H is, under every condition")
        elif below:
            said.append(f"Tr H is negative under {', '.join(below)}; (B) is of the largest one")
        if at_is != AT_BEST:
            said.append(f"(A) + (B) has no least σ; terms are given where {at_is}")
        if not apart:
            said.append("(C) is not defined: it is of two conditions or more, and there is one")
        for pair, one in apart.items():
            if one.reason:
                said.append(f"(C) of {pair} is not defined: {one.reason}")
            elif one.classes < one.of:
                said.append(
                    f"(C) of {pair} is of {one.classes} of {one.of} classes, those with {LEAST} samples on both sides"
                )
        if terms.pair and terms.discrepancy[0] < 0:
            said.append("(C) is below 0: no two conditions are farther apart than their samples' noise")
        return said


def distances(features: Mapping[str, xr.Dataset]) -> dict[str, Apart]:
    """`first – second` -> how far two conditions are apart, of every two, also where neither is clean.

    The first one's classes weigh (`shared_priors`).

    Args:
        features: condition -> its cell of the measurement `features`.
    """
    return {f"{a} – {b}": _distance(features[a], features[b]) for a, b in combinations(features, 2)}


def _distance(one: xr.Dataset, other: xr.Dataset) -> Apart:
    (x, labels), (y, others) = (
        (
            normalised(torch.from_numpy(side["sample_features"].values)),
            torch.from_numpy(side["sample_label"].values.astype(np.int64)),
        )
        for side in (one, other)
    )
    of = 1 + int(max(labels.max(), others.max()))
    same = str(one["samples_sha256"].item()) == str(other["samples_sha256"].item())
    paired = same and bool(one["paired"]) and bool(other["paired"])

    def weighted(rows: torch.Tensor, second: torch.Tensor | None = None) -> torch.Tensor:
        there = rows if second is None else second
        priors = shared_priors(labels[rows], others[there], of)
        return class_distances(x[rows], labels[rows], y[there], others[there], of, paired=paired).weighted(
            priors
        )

    present = len(set(labels.tolist()) | set(others.tolist()))
    try:
        found = jackknifed(weighted, *((len(x),) if paired else (len(x), len(y))))
        shared = int((shared_priors(labels, others, of) > 0).sum())
    except ValueError as error:
        return Apart(*UNKNOWN, paired, 0, present, str(error))
    return Apart(float(found.value), float(found.stderr), paired, shared, present)


def grid(evidence: Sequence[Evidence]) -> tuple[np.ndarray, list[int], str]:
    """The σ to sweep, the same for every n; for each n the number of the one to report, and what is special about it.

    `best_sigma` where it is defined, else where (A) and |(B)| are equal, and where one of them is 0 at every σ, where
    the other is ½. It falls with n^¼, so that for every n it is one of the grid.

    Args:
        evidence: for each n, which are hundreds apart.
    """
    first = evidence[0]
    if first.drift and first.trace:
        wanted = [best_sigma(one.drift, one.n, abs(one.trace)) for one in evidence]
        said = AT_BEST if first.trace > 0 else "(A) is as large as (B) is negative"
    elif first.drift:
        wanted, said = [one.drift / sqrt(one.n) for one in evidence], "(A) is ½, for (B) is 0"
    else:
        wanted = [1 / sqrt(abs(one.trace) or 1) for one in evidence]
        said = "(B) is ½ in size, for (A) is 0"
    middle = np.exp(np.mean(np.log(wanted)))
    half = STEPS * DECADES
    places = [half + round(STEPS * np.log10(one / middle)) for one in wanted]
    return middle * 10.0 ** (np.arange(-half, half + 1) / STEPS), places, said


def _of_drift(moved: xr.Dataset) -> list[str]:
    """What the drift leaves out, and (A) with it."""
    if not moved.sizes["layer"]:
        return ["(A) is not defined: the reference has none of these parameters"]
    lost = [text for text in json.loads(str(moved["warnings"].item())) if NO_TWIN in text]
    return [f"(A) is of the others alone: {text}" for text in lost]


def _defined(apart: Mapping[str, Apart]) -> tuple[dict[str, float], dict[str, float]]:
    """The distances that are, and their errors."""
    known = {pair: one for pair, one in apart.items() if not one.reason}
    return {pair: one.value for pair, one in known.items()}, {pair: one.stderr for pair, one in known.items()}


def _over_sigma(terms: Sequence[Terms]) -> dict[str, Any]:
    return {
        "sigma": ("grid", terms[0].sigma),
        "proximity": (("trained_on", "grid"), np.stack([one.proximity for one in terms])),
        "sharpness": ("grid", terms[0].sharpness),
        "sharpness_stderr": ("grid", terms[0].sharpness_stderr),
    }


def _traces(curvature: Mapping[str, xr.Dataset], traces: Mapping[str, tuple[float, float]]) -> dict[str, Any]:
    one = next(iter(curvature.values()))
    return {
        "trace": ("risk", [value for value, _ in traces.values()]),
        "trace_stderr": ("risk", [error for _, error in traces.values()]),
        **{name: str(one[name].item()) for name in ("params", "matrix")},
    }


def _apart(apart: Mapping[str, Apart]) -> dict[str, Any]:
    every = list(apart.values())
    return {
        "distance": ("pair", np.array([one.value for one in every])),
        "distance_stderr": ("pair", np.array([one.stderr for one in every])),
        "pair_paired": ("pair", np.array([one.paired for one in every], dtype=np.int8)),
        "pair_classes": ("pair", np.array([one.classes for one in every], dtype=np.int64)),
    }


def _risk(cells: Mapping[str, Mapping[str, xr.Dataset]]) -> dict[str, Any]:
    """R̂_ID: loss and error on clean inputs; NaN where they were not measured."""
    clean = cells.get("accuracy", {}).get("clean")
    loss, error = _number(clean, "mean_loss") if clean is not None else UNKNOWN
    wrong = 1 - float(clean["accuracy"]) if clean is not None else nan
    return {"clean_loss": loss, "clean_loss_stderr": error, "clean_error": wrong}


def _number(one: xr.Dataset, name: str) -> tuple[float, float]:
    """A number of a cell and its standard error."""
    return float(one[name]), float(one[f"{name}_stderr"])
