"""How unequal the curvature is, across the spectrum and across the layers, from the same probes as the trace."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from geomlab.stats import jackknife

Array = NDArray[np.float64]
QUANTITIES = (
    "lambda1_over_lambdak",
    "n_lambda1_over_trace",
    "participation_ratio",
    "layer_gini",
    "layer_cv",
)


def anisotropy(
    eigenvalues: Array, residuals: Array, dim: int, trace: Array, squared_frobenius: Array, kappa: Array
) -> Mapping[str, tuple[float, float]]:
    """Value and error of each quantity: one standard error by the jackknife over probes, unless said otherwise.

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
    return dict(zip(QUANTITIES, [first, *rest], strict=True))


def gini(values: Array) -> float:
    """Gini coefficient of non-negative values: 0 where all are equal, 1 − 1/n where one has everything."""
    x = np.sort(np.asarray(values, dtype=np.float64))
    total = x.sum()
    if total <= 0:
        return float("nan")
    n = len(x)
    return float((2 * np.arange(1, n + 1) - n - 1) @ x / (n * total))
