"""The terms of the robust PAC-Bayes bound from measured numbers (METHOD.md, Theorem 3.1).

R_rob(θ) ≤ R̂_ID(θ) + (A) ‖θ−θ₀‖²/(2nσ²) + (B) σ²/2 · Tr E[∇²R_rob] + (C) max over pairs of d_HΔH + λ*, the last
bounded by Lemma 3.2 (`discrepancy`). σ, L_f and λ* cannot be measured: they are arguments without defaults, and what
follows from them is no certificate. The sources do not say what the expectation in (B) is over; the trace at θ stands
in for it (ours).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite, nan, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geomlab.stats import Array, leaders

TERMS = ("A", "B", "C")


@dataclass(frozen=True)
class Evidence:
    """What is measured of a checkpoint.

    Attributes:
        drift: ‖θ−θ₀‖.
        n: samples the bound is for: those θ was trained on (ours; the sources do not say).
        trace: Tr H of the robust risk.
        trace_stderr: its standard error.
        distances: pair of conditions, as ID and OOD -> 2 Σ_c π_c (…) of Lemma 3.2 (`Distances.weighted`); empty where
            none is defined, and term (C) with it.
        distance_stderr: standard error of each.
    """

    drift: float
    n: int
    trace: float
    trace_stderr: float
    distances: Mapping[str, float]
    distance_stderr: Mapping[str, float]

    def __post_init__(self) -> None:
        """Refuse what no term follows from.

        Raises:
            ValueError: of a number that is missing, not finite, or negative where none can be.
        """
        if self.n < 1 or not self.drift >= 0 or not isfinite(self.drift):
            raise ValueError(f"expected n >= 1 and a drift of 0 or more, got n = {self.n} and {self.drift}")
        if not isfinite(self.trace) or not self.trace_stderr >= 0:
            raise ValueError(f"expected a trace and its error, got {self.trace} and {self.trace_stderr}")
        if set(self.distances) != set(self.distance_stderr):
            raise ValueError(
                f"expected an error of each distance, got {sorted(self.distances)} and {sorted(self.distance_stderr)}"
            )
        numbers = [*self.distances.values(), *self.distance_stderr.values()]
        if not all(isfinite(number) for number in numbers):
            raise ValueError(f"expected distances and errors that are defined, got {numbers}")


@dataclass(frozen=True, eq=False)
class Terms:
    """The bound's terms at each σ; R̂_ID(θ) comes on top.

    Attributes:
        sigma: (s,) the prior's standard deviation.
        proximity: (s,) term (A), exact.
        sharpness: (s,) term (B); negative where the trace is.
        sharpness_stderr: (s,).
        discrepancy: (s,) term (C), the same at every σ.
        discrepancy_stderr: (s,) of the pair that is largest.
        pair: the pair of conditions that term (C) is of; "" where it is not defined.
    """

    sigma: Array
    proximity: Array
    sharpness: Array
    sharpness_stderr: Array
    discrepancy: Array
    discrepancy_stderr: Array
    pair: str

    @property
    def total(self) -> Array:
        """(s,) the terms' sum."""
        return self.proximity + self.sharpness + self.discrepancy

    @property
    def total_stderr(self) -> Array:
        """(s,) its error, those of two measurements taken as independent (ours)."""
        return np.hypot(self.sharpness_stderr, self.discrepancy_stderr)

    @property
    def dominant(self) -> list[str]:
        """(s,) the largest term, of `TERMS`; "" where a term is not defined."""
        known = np.isfinite(self.total)
        return [TERMS[i] if ok else "" for i, ok in zip(np.argmax(self._stacked, axis=0), known, strict=True)]

    @property
    def decided(self) -> NDArray[np.bool_]:
        """(s,) whether the largest leads the next by more than 1.96 errors of their difference."""
        errors = np.stack([np.zeros_like(self.sigma), self.sharpness_stderr, self.discrepancy_stderr])
        return np.asarray(leaders(self._stacked, errors).sum(0) == 1)

    @property
    def _stacked(self) -> Array:
        return np.stack([self.proximity, self.sharpness, self.discrepancy])


def sweep(evidence: Evidence, sigmas: ArrayLike, *, lipschitz: float, joint_error: float) -> Terms:
    """The terms on a grid of σ.

    A PAC-Bayes bound holds for a σ chosen before the data, not for the best of a grid. The largest of several noisy
    distances reads too large.

    Args:
        evidence: of one checkpoint.
        sigmas: (s,) over 0, in units of a parameter.
        lipschitz: L_f, per squared unit of the features.
        joint_error: λ*, the error of the best classifier on both domains, in units of the risk.

    Raises:
        ValueError: if a σ is not over 0, or a constant negative.
    """
    sigma = np.atleast_1d(np.asarray(sigmas, dtype=np.float64))
    if not (sigma > 0).all():
        raise ValueError(f"expected every σ over 0, got {float(np.min(sigma)):g}")
    if not lipschitz >= 0 or not joint_error >= 0:
        raise ValueError(f"expected L_f and λ* of 0 or more, got {lipschitz} and {joint_error}")
    pair = max(evidence.distances, key=lambda name: evidence.distances[name], default="")
    flat = np.ones_like(sigma)
    return Terms(
        sigma,
        evidence.drift**2 / (2 * evidence.n * sigma**2),
        sigma**2 / 2 * evidence.trace,
        sigma**2 / 2 * evidence.trace_stderr,
        flat * (lipschitz * evidence.distances.get(pair, nan) + joint_error),
        flat * lipschitz * evidence.distance_stderr.get(pair, nan),
        pair,
    )


def best_sigma(drift: float, n: int, trace: float) -> float:
    """The σ of the least (A) + (B), (‖θ−θ₀‖²/(n Tr H))^¼, where both are ½ ‖θ−θ₀‖ √(Tr H/n): where to put the grid.

    Args:
        drift: ‖θ−θ₀‖.
        n: samples.
        trace: Tr H.

    Returns:
        NaN if the trace is not over 0: (A) + (B) then has no least.
    """
    return sqrt(drift / sqrt(n * trace)) if trace > 0 else nan
