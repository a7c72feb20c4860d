"""How unequal the curvature is, across the spectrum and across the layers: each number with its 95 % interval.

Values and errors are the jackknife's over probes (`stats.debiased`), and the intervals Student's. Beside that error
stands what is no chance: the residuals of eigenvalues, and what the steps of a quadrature leave open.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, nan

import numpy as np
from numpy.typing import NDArray

from geomlab import stats
from geomlab.linalg.blocks import BlockNorms
from geomlab.linalg.density import SpectralDensity
from geomlab.linalg.estimates import Estimate

Array = NDArray[np.float64]
Rows = NDArray[np.intp]
OF_TRACES = (
    "lambda1_over_lambdak",
    "n_lambda1_over_trace",
    "participation_ratio",
    "layer_gini",
    "layer_cv",
)
OF_DENSITY = ("effective_rank", "absolute_participation_ratio")
OF_BLOCKS = ("cross_layer_share",)
QUANTITIES = (*OF_TRACES, *OF_DENSITY, *OF_BLOCKS)


@dataclass(frozen=True)
class Quantity:
    """A number that is not negative, with its error.

    Attributes:
        value: NaN where it has no meaning.
        stderr: one standard error over probes, or a bound; NaN from a single probe.
        low: lower end of its 95 % interval, not negative.
        high: upper end.
    """

    value: float
    stderr: float
    low: float
    high: float


Quantities = Mapping[str, Quantity]


def of_traces(
    eigenvalues: Array, residuals: Array, dim: int, trace: Array, squared_frobenius: Array, kappa: Array
) -> Quantities:
    """What follows from traces.

    Args:
        eigenvalues: (k,) largest ones, descending.
        residuals: (k,) their relative residuals.
        dim: of the parameters, n.
        trace: (probes,) samples of Tr H.
        squared_frobenius: (probes,) samples of ‖H‖_F².
        kappa: (probes, layers) samples of Tr H_ℓℓ / dim_ℓ.

    Returns:
        `lambda1_over_lambdak` λ₁/λ_k (NaN unless both are positive; its error is the bound from the residuals);
        `n_lambda1_over_trace` n·λ₁/Tr H, 1 for an isotropic H (NaN unless both are positive); `participation_ratio`
        (Tr H)²/‖H‖_F², the number of directions that share the curvature (a lower bound for an indefinite H, whose
        trace cancels); `layer_gini` and `layer_cv` of |κ_ℓ| over the layers. An eigenvalue is positive only if it is
        larger than its residual: below that it may be a zero to which rounding gave a sign.
    """
    positive = (eigenvalues[[0, -1]] > 0) & (residuals[[0, -1]] < 1)

    def of_probes(rows: Rows) -> list[float]:
        tr, fro2 = trace[rows].mean(), squared_frobenius[rows].mean()
        sizes = np.abs(kappa[rows].mean(axis=0))
        mean = sizes.mean()
        return [
            float(dim * eigenvalues[0] / tr) if tr > 0 and positive[0] else nan,
            float(tr**2 / fro2) if fro2 > 0 else nan,
            gini(sizes),
            float(sizes.var() / mean**2) if mean > 0 else nan,
        ]

    values, errors = stats.debiased(of_probes, len(trace))
    half = stats.t95(len(trace)) * errors
    n_lambda, participation, of_gini = (
        _around(*each)
        for each in zip(values[:3].tolist(), errors[:3].tolist(), half[:3].tolist(), strict=True)
    )
    variation = _root(float(values[3]), float(errors[3]), float(half[3]))
    if variation.low == 0:  # where layers may be alike, noise alone makes a Gini
        of_gini = Quantity(of_gini.value, of_gini.stderr, 0.0, of_gini.high)
    ratio = _ratio(eigenvalues[[0, -1]], residuals[[0, -1]]) if positive.all() else _around(nan, nan, nan)
    return dict(zip(OF_TRACES, [ratio, n_lambda, participation, of_gini, variation], strict=True))


def of_density(density: SpectralDensity, squared_frobenius: Estimate) -> Quantities:
    """What needs the sizes |λ| of all eigenvalues, of which Σ|λ| is the nuclear norm.

    Errors hold one standard error over probes and what the steps of the quadrature leave open, which is the larger part
    where many eigenvalues lie near zero.

    Args:
        density: by stochastic Lanczos quadrature.
        squared_frobenius: ‖H‖_F² = Σλ².

    Returns:
        `effective_rank` exp(−Σ pᵢ log pᵢ) with pᵢ = |λᵢ|/Σ|λ| (Roy & Vetterli 2007); `absolute_participation_ratio`
        (Σ|λ|)²/‖H‖_F², which unlike (Tr H)²/‖H‖_F² does not let eigenvalues of either sign cancel.
    """
    sizes, logs = density.functional(np.abs), density.functional(_x_log_x)
    whole = squared_frobenius.value

    def of_probes(rows: Rows, steps: int = 0) -> list[float]:
        size, log = float(sizes[steps][rows].mean()), float(logs[steps][rows].mean())
        if size <= 0 or whole <= 0:
            return [nan] * 2
        return [size * float(np.exp(-log / size)), size**2 / whole]

    probes = len(sizes[0])
    every = np.arange(probes)
    values, errors = stats.debiased(of_probes, probes)
    left_open = np.abs(np.array(of_probes(every)) - of_probes(every, 1))
    of_frobenius = np.array([0, values[1] * squared_frobenius.stderr / whole if whole > 0 else nan])
    halves = left_open + np.hypot(
        stats.t95(probes) * errors, stats.t95(len(squared_frobenius.samples)) * of_frobenius
    )
    stderr = np.linalg.norm([errors, left_open, of_frobenius], axis=0)
    found = zip(values.tolist(), stderr.tolist(), halves.tolist(), strict=True)
    return dict(zip(OF_DENSITY, (_around(*each, least=1.0) for each in found), strict=True))


def _x_log_x(x: Array) -> Array:
    """|x| log|x|, and 0 at 0."""
    size = np.abs(x)
    return size * np.log(np.maximum(size, np.finfo(np.float64).tiny))


def of_blocks(norms: BlockNorms) -> Quantities:
    """`cross_layer_share` 1 − Σ‖H_ℓℓ‖_F²/‖H‖_F²: the share of H that couples layers, over pairs of probes."""

    def share(rows: Rows) -> list[float]:
        whole = float(norms.whole[rows].mean())
        return [1 - float(norms.blocks[rows].sum(1).mean()) / whole if whole > 0 else nan]

    pairs = len(norms.whole)
    (value,), (error,) = (found.tolist() for found in stats.debiased(share, pairs))
    return {OF_BLOCKS[0]: _around(value, error, stats.t95(pairs) * error, most=1.0)}


def gini(values: Array) -> float:
    """Gini coefficient of non-negative values: 0 where all are equal, 1 − 1/n where one has everything."""
    x = np.sort(np.asarray(values, dtype=np.float64))
    total = x.sum()
    if total <= 0:
        return nan
    n = len(x)
    return float((2 * np.arange(1, n + 1) - n - 1) @ x / (n * total))


def _around(value: float, stderr: float, half: float, *, least: float = 0.0, most: float = inf) -> Quantity:
    """What is between `least` and `most`, with an interval of that half width."""
    value, low, high = (float(np.clip(x, least, most)) for x in (value, value - half, value + half))
    return Quantity(value, stderr, low, high)


def _root(square: float, stderr: float, half: float) -> Quantity:
    """The root of an estimate that may be negative, and of the ends of its interval."""
    ends = np.array([square, square + stderr, square - half, square + half])
    value, above, low, high = np.sqrt(np.maximum(ends, 0.0)).tolist()
    return Quantity(value, above - value, low, high)


def _ratio(values: Array, residuals: Array) -> Quantity:
    """First over second, each within its relative residual of an eigenvalue: bounds, not chances."""
    first, second = residuals.tolist()
    ratio = float(values[0] / values[1])
    return Quantity(
        ratio,
        ratio * (first + second),
        ratio * (1 - first) / (1 + second),
        ratio * (1 + first) / (1 - second),
    )
