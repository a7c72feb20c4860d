"""How unequal the curvature is, across the spectrum and across the layers."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from geomlab.linalg.blocks import BlockNorms
from geomlab.linalg.density import SpectralDensity
from geomlab.linalg.estimates import Estimate
from geomlab.stats import jackknife

Array = NDArray[np.float64]
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
Pairs = Mapping[str, tuple[float, float]]  # a quantity and its error


def of_traces(
    eigenvalues: Array, residuals: Array, dim: int, trace: Array, squared_frobenius: Array, kappa: Array
) -> Pairs:
    """What follows from traces; errors are one standard error by the jackknife over probes, unless said otherwise.

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

    def of_probes(rows: NDArray[np.intp]) -> list[float]:
        tr, fro2, mean_kappa = (
            trace[rows].mean(),
            squared_frobenius[rows].mean(),
            np.abs(kappa[rows].mean(axis=0)),
        )
        return [
            float(dim * eigenvalues[0] / tr) if tr > 0 and positive[0] else float("nan"),
            float(tr**2 / fro2) if fro2 > 0 else float("nan"),
            gini(mean_kappa),
            float(mean_kappa.std() / mean_kappa.mean()) if mean_kappa.mean() > 0 else float("nan"),
        ]

    values = of_probes(np.arange(len(trace)))
    errors = jackknife(of_probes, len(trace)) if len(trace) > 1 else np.full(len(values), np.nan)
    ratio = float(eigenvalues[0] / eigenvalues[-1]) if positive.all() else float("nan")
    first = (ratio, ratio * float(residuals[0] + residuals[-1]))
    rest = [(value, float(error)) for value, error in zip(values, errors, strict=True)]
    return dict(zip(OF_TRACES, [first, *rest], strict=True))


def of_density(density: SpectralDensity, squared_frobenius: Estimate) -> Pairs:
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

    def of_probes(rows: NDArray[np.intp], steps: int = 0) -> list[float]:
        size, log = float(sizes[steps][rows].mean()), float(logs[steps][rows].mean())
        if size <= 0 or whole <= 0:
            return [float("nan")] * 2
        return [size * float(np.exp(-log / size)), size**2 / whole]

    every = np.arange(len(sizes[0]))
    values, half = np.array(of_probes(every)), np.array(of_probes(every, 1))
    over_probes = jackknife(of_probes, len(every)) if len(every) > 1 else np.full(2, np.nan)
    of_frobenius = np.array([0, values[1] * squared_frobenius.stderr / whole if whole > 0 else np.nan])
    errors = np.linalg.norm([over_probes, values - half, of_frobenius], axis=0)
    return dict(zip(OF_DENSITY, zip(values.tolist(), errors.tolist(), strict=True), strict=True))


def _x_log_x(x: Array) -> Array:
    """|x| log|x|, and 0 at 0."""
    size = np.abs(x)
    return size * np.log(np.maximum(size, np.finfo(np.float64).tiny))


def of_blocks(norms: BlockNorms) -> Pairs:
    """`cross_layer_share` 1 − Σ‖H_ℓℓ‖_F²/‖H‖_F²: the share of H that couples layers; its jackknife error over pairs."""

    def share(rows: NDArray[np.intp]) -> list[float]:
        whole = float(norms.whole[rows].mean())
        return [1 - float(norms.blocks[rows].sum(1).mean()) / whole if whole > 0 else float("nan")]

    pairs = len(norms.whole)
    error = float(jackknife(share, pairs)[0]) if pairs > 1 else float("nan")
    return {OF_BLOCKS[0]: (share(np.arange(pairs))[0], error)}


def gini(values: Array) -> float:
    """Gini coefficient of non-negative values: 0 where all are equal, 1 − 1/n where one has everything."""
    x = np.sort(np.asarray(values, dtype=np.float64))
    total = x.sum()
    if total <= 0:
        return float("nan")
    n = len(x)
    return float((2 * np.arange(1, n + 1) - n - 1) @ x / (n * total))
