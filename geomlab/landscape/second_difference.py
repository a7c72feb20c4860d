"""The second derivative of a line at its centre, from values at steps that halve, with its error."""

from dataclasses import dataclass

import numpy as np

from geomlab.stats import Array

LEVELS = 8  # steps, each half of the one before: the smallest is 1/128 of the largest; ours


@dataclass(frozen=True)
class SecondDifference:
    """A second derivative from differences.

    Attributes:
        value: of the mean loss.
        error: of differencing: what is left of higher derivatives, and rounding; an estimate of its size.
        weights: (levels,) the value is the sum of them times the second differences of all steps.
    """

    value: float
    error: float
    weights: Array


def steps(largest: float, levels: int = LEVELS) -> Array:
    """(levels,) steps, descending."""
    return np.asarray(largest * 0.5 ** np.arange(levels))


def second_differences(h: Array, left: Array, centre: Array, right: Array) -> Array:
    """(…, levels) values of (L(−h) − 2 L(0) + L(h))/h².

    Args:
        h: (levels,) steps.
        left: (…, levels) values at −h.
        centre: (…, 1) at 0.
        right: (…, levels) at h.
    """
    return np.asarray((left - 2 * centre + right) / h**2)


def extrapolated(h: Array, differences: Array, rounding: float) -> SecondDifference:
    """The limit of second differences as the step goes to 0, by Richardson's extrapolation.

    Each column of Neville's table removes the next even power of the step; the entry is taken that differs least from
    its two parents, rounding included (Ridders 1982; Press et al., Numerical Recipes 3rd ed., 5.7). Steps at which the
    loss is not finite are left out.

    Args:
        h: (levels,) steps, each half of the one before.
        differences: (levels,) second differences.
        rounding: error of one value of the loss.
    """
    best = SecondDifference(float("nan"), float("inf"), np.zeros(len(h)))
    table: list[Array] = []  # the weights of the last row
    usable = np.where(np.isfinite(differences), differences, 0.0)
    for k in range(len(h)):
        if not np.isfinite(differences[k]):
            table = []
            continue
        row = [np.eye(len(h))[k]]
        for j, parent in enumerate(table, start=1):
            row.append((4**j * row[-1] - parent) / (4**j - 1))
            value = float(row[j] @ usable)
            apart = max(abs(value - float(row[j - 1] @ usable)), abs(value - float(parent @ usable)))
            error = apart + float(np.abs(row[j]) @ (4 * rounding / h**2))
            if error < best.error:
                best = SecondDifference(value, error, row[j])
        table = row
    return best
