"""How unequal the curvature is, across the spectrum and across the layers: each number with its 95 % interval.

Values and errors are the jackknife's over probes (`stats.debiased`), and the intervals Student's. Beside that error
stands what is no chance: the residuals of eigenvalues, and what the steps of a quadrature leave open.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import inf, isnan, nan

import numpy as np
import torch
from numpy.typing import NDArray

from geomlab import stats
from geomlab.curvature.inequality import of_layers
from geomlab.curvature.quantity import Quantity, around
from geomlab.linalg.blocks import BlockNorms
from geomlab.linalg.density import SpectralDensity
from geomlab.linalg.estimates import Eigenpairs, Estimate
from geomlab.linalg.trace import Traces

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


Quantities = Mapping[str, Quantity]
NONE = Quantity(nan, nan, nan, nan)


def of_traces(top: Eigenpairs, traces: Traces, sizes: Sequence[int]) -> Quantities:
    """What follows from traces.

    Args:
        top: the k largest eigenpairs.
        traces: with blocks, the layers.
        sizes: parameters of each layer.

    Returns:
        `lambda1_over_lambdak` λ₁/λ_k (NaN unless both are positive; its ends are bounds); `n_lambda1_over_trace`
        n·λ₁/Tr H, 1 for an isotropic H (NaN unless both are positive; its upper end is infinite where the trace is not
        told from zero); `participation_ratio` (Tr H)²/‖H‖_F², the number of directions that share the curvature (a
        lower bound for an indefinite H, whose trace cancels); `layer_gini` and `layer_cv` of |κ_ℓ| over the layers. An
        eigenvalue is positive only if it is larger than its residual: below that it may be a zero to which rounding
        gave a sign.
    """
    kappa = torch.stack([block.samples for block in traces.blocks], dim=1).numpy() / np.array(sizes)
    found = [_ratio(top), _of_trace(top, traces.trace, sum(sizes)), _participation(traces, sum(sizes))]
    return dict(zip(OF_TRACES, [*found, *of_layers(kappa)], strict=True))


def _participation(traces: Traces, dim: int) -> Quantity:
    """(Tr H)²/‖H‖_F²."""
    trace, square = traces.trace.samples.numpy(), traces.squared_frobenius.samples.numpy()

    def of_probes(rows: Rows) -> list[float]:
        fro2 = square[rows].mean()
        return [float(trace[rows].mean() ** 2 / fro2) if fro2 > 0 else nan]

    (value,), (error,) = (found.tolist() for found in stats.debiased(of_probes, len(trace)))
    found = around(value, error, stats.t95(len(trace)) * error, most=dim)
    low, high = traces.trace.interval
    if low <= 0 <= high and traces.squared_frobenius.value > 0:  # the square is no line there
        most = max(low**2, high**2) / traces.squared_frobenius.value
        found = replace(found, low=0.0, high=min(max(found.high, most), dim))
    return found


def _ratio(top: Eigenpairs) -> Quantity:
    """λ₁/λ_k, and bounds of it.

    A converged value is within its residual of an eigenvalue. One that is not may still rise to the eigenvalue that it
    is below of, the k-th as far as the first.
    """
    if not _is_positive(top, 0) or not _is_positive(top, -1):
        return NONE
    first, last = (float(top.relative_residuals[i]) for i in (0, -1))
    ratio = float(top.values[0] / top.values[-1])
    low = ratio * (1 - first) / (1 + last) if bool(top.converged[-1]) else 1.0
    high = ratio * (1 + first) / (1 - last) if bool(top.converged[0]) else inf
    return Quantity(ratio, ratio * (first + last), max(low, 1.0), high)


def _of_trace(top: Eigenpairs, trace: Estimate, dim: int) -> Quantity:
    """n·λ₁/Tr H, between the ends of the trace's interval and of λ₁'s (Fieller 1954, of a numerator without chance)."""
    if not _is_positive(top, 0) or trace.value <= 0:
        return NONE
    numerator, residual = dim * float(top.values[0]), float(top.relative_residuals[0])
    low, high = trace.interval
    value = numerator / trace.value
    least, most = numerator * (1 - residual) / high, inf
    if low > 0 and bool(top.converged[0]):
        most = numerator * (1 + residual) / low
    if isnan(high):
        least = most = nan
    stderr = value * (trace.stderr / trace.value + residual)
    return Quantity(max(value, 1.0), stderr, max(least, 1.0), max(most, 1.0))


def _is_positive(top: Eigenpairs, index: int) -> bool:
    return bool(top.values[index] > 0) and bool(top.relative_residuals[index] < 1)


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
    return dict(zip(OF_DENSITY, (around(*each, least=1.0, most=density.dim) for each in found), strict=True))


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
    return {OF_BLOCKS[0]: around(value, error, stats.t95(pairs) * error, most=1.0)}
