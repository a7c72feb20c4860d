"""How unequally curvature is spread over the layers: the Gini coefficient and the coefficient of variation of |κ_ℓ|."""

from dataclasses import replace
from math import nan, sqrt

import numpy as np
from numpy.typing import NDArray

from geomlab import stats
from geomlab.curvature.quantity import Quantity, around
from geomlab.stats import Array


def of_layers(kappa: Array) -> tuple[Quantity, Quantity]:
    """Gini coefficient and coefficient of variation, with 95 % intervals over probes.

    Values are the jackknife's, which takes out most of what noise alone makes of layers that are alike. So are the
    intervals, where the square of the coefficient is told from zero. Where it is not, it has no slope that an error
    could go by: the interval is then widened to that of the length of a vector with noise (`stats.length_interval`),
    and the Gini's begins at 0 and reaches to what that allows: a Gini is at most √((1 − 1/L²)/3) of the coefficient.
    Where a layer's sign is not sure, the jackknife of |κ| takes out too much: the interval then holds what it would be
    around the value as it is, too.

    Args:
        kappa: (probes, layers) samples of κ.

    Returns:
        The two quantities.
    """
    probes, layers = kappa.shape

    def of_probes(rows: NDArray[np.intp]) -> list[float]:
        sizes = np.abs(kappa[rows].mean(axis=0))
        mean = sizes.mean()
        return [gini(sizes), float(sizes.var() / mean**2) if mean > 0 else nan]

    values, errors = stats.debiased(of_probes, probes)
    half = stats.t95(probes) * errors
    found = _both(values, errors, half, layers)
    if found[1].low == 0:
        found = _not_told_from_alike(*found, kappa)
    unsure = np.abs(kappa.mean(axis=0)) < stats.t_half_width(kappa)
    if unsure.any():
        plain = _both(np.array(of_probes(np.arange(probes))), errors, half, layers)
        found = _hull(found[0], plain[0]), _hull(found[1], plain[1])
    return _with_error(found[0], probes), _with_error(found[1], probes)


def _both(values: Array, errors: Array, half: Array, layers: int) -> tuple[Quantity, Quantity]:
    """Gini and CV from the Gini and the square of the CV; at most 1 − 1/L and √(L − 1)."""
    of_gini = around(float(values[0]), float(errors[0]), float(half[0]), most=1 - 1 / layers)
    return of_gini, _root(float(values[1]), float(errors[1]), float(half[1]), most=sqrt(layers - 1))


def _not_told_from_alike(of_gini: Quantity, variation: Quantity, kappa: Array) -> tuple[Quantity, Quantity]:
    """With intervals that begin at 0, and end where layers may be as unequal as that."""
    layers = kappa.shape[1]
    high = max(variation.high, min(_longest(kappa), sqrt(layers - 1)))
    allowed = min(high * sqrt((1 - 1 / layers**2) / 3), 1 - 1 / layers)
    return replace(of_gini, low=0.0, high=max(of_gini.high, allowed)), replace(variation, high=high)


def _longest(kappa: Array) -> float:
    """The upper end of the coefficient of variation as a length: of (|κ| − mean)/mean over √layers.

    Its noise is that of the numerator less the mean's share of it, to first order.
    """
    sizes = np.abs(kappa.mean(axis=0))
    mean = sizes.mean()
    if mean <= 0:
        return nan
    samples = kappa * np.sign(kappa.mean(axis=0))
    samples = (samples - np.outer(samples.mean(axis=1), sizes / mean)) / mean
    centred = samples - samples.mean(axis=1, keepdims=True)
    return stats.length_interval((sizes - mean) / mean, centred)[1] / sqrt(len(sizes))


def _with_error(quantity: Quantity, probes: int) -> Quantity:
    """With a standard error that is at least what its interval says."""
    least = (quantity.high - quantity.low) / (2 * stats.t95(probes))
    return replace(quantity, stderr=max(quantity.stderr, least))


def _hull(one: Quantity, other: Quantity) -> Quantity:
    return replace(one, low=min(one.low, other.low), high=max(one.high, other.high))


def gini(values: Array) -> float:
    """Gini coefficient of non-negative values: 0 where all are equal, 1 − 1/n where one has everything."""
    x = np.sort(np.asarray(values, dtype=np.float64))
    total = x.sum()
    if total <= 0:
        return nan
    n = len(x)
    return float((2 * np.arange(1, n + 1) - n - 1) @ x / (n * total))


def _root(square: float, stderr: float, half: float, *, most: float) -> Quantity:
    """The root of an estimate that may be negative, and of the ends of its interval."""
    ends = np.array([square, square + stderr, square - half, square + half])
    value, above, low, high = np.minimum(np.sqrt(np.maximum(ends, 0.0)), most).tolist()
    return Quantity(value, above - value, low, high)
