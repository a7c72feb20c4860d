"""Numbers out of a slice: what a picture of it shows, measured, with intervals over samples.

A line is given by distances in weight space, in ascending order with 0, the centre, among them, and the losses there,
between which it is taken to be straight. A number is a function of those losses; `with_interval` gives its 95 %
interval by leaving out each group of samples in turn.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from geomlab.landscape.slices import Slice
from geomlab.stats import Array, jackknife_error, t95

RISE = 0.1  # nats above the centre: where a basin's width is taken; ours
ROUNDING = 1e-12  # of a sum
OF_LINE = ("width", "asymmetry", "sharpness", "roughness")


@dataclass(frozen=True)
class Number:
    """A number of a slice.

    Attributes:
        value: on all samples.
        low: lower end of its 95 % interval over samples.
        high: upper end; infinite where the slice does not reach far enough to tell.
        left_out: (groups,) the number without each group of samples in turn, by which two slices on the same samples
            are compared in pairs.
    """

    value: float
    low: float
    high: float
    left_out: Array


def with_interval(of: Callable[[Array], float], found: Slice) -> Number:
    """A function of the losses of a slice with its 95 % interval, by the delete-a-group jackknife.

    Args:
        of: maps losses (points,) to a number.
        found: the slice.
    """
    with np.errstate(invalid="ignore"):  # where losses are infinite
        return interval(of(found.loss), np.array([of(losses) for losses in found.without_each]))


def interval(value: float, left_out: Array) -> Number:
    """A number with its 95 % interval, from those without each of the groups; NaN of a single group."""
    if len(left_out) < 2:
        return Number(value, np.nan, np.nan, left_out)
    half = t95(len(left_out)) * float(jackknife_error(left_out))
    return Number(value, value - half, value + half, left_out)


def undefined(groups: int) -> Number:
    """A number that has no meaning."""
    return Number(np.nan, np.nan, np.nan, np.full(groups, np.nan))


def not_below_zero(number: Number) -> Number:
    """The same where it cannot be negative: its interval begins at 0 at least."""
    return replace(number, low=max(number.low, 0.0))


def of_line(distance: Array, found: Slice, *, rho: float) -> dict[str, Number]:
    """The numbers of a line.

    Args:
        distance: (points,) from the centre in weight space, ascending, 0 among them.
        found: losses there.
        rho: radius of the sharpness.
    """
    measures: tuple[Callable[[Array, Array], float], ...] = (
        width,
        asymmetry,
        partial(sharpness, rho=rho),
        roughness,
    )
    found_of = {
        name: with_interval(partial(of, distance), found) for name, of in zip(OF_LINE, measures, strict=True)
    }
    found_of |= {name: not_below_zero(found_of[name]) for name in ("width", "roughness")}
    if (
        abs(found_of["asymmetry"].value) == 1
    ):  # its bound, which no other sample changes: that says nothing of the error
        found_of["asymmetry"] = replace(found_of["asymmetry"], low=np.nan, high=np.nan)
    if goes_on(distance, found.loss):
        found_of["width"] = replace(found_of["width"], high=float("inf"))
    return found_of


def width(distance: Array, loss: Array, rise: float = RISE) -> float:
    """Length of the basin: of the interval around the centre in which the loss is below the centre's plus `rise`.

    A lower bound where an end of the line is still below.
    """
    return _reach(distance, loss, rise) + _reach(-distance[::-1], loss[::-1], rise)


def goes_on(distance: Array, loss: Array, rise: float = RISE) -> bool:
    """Whether the basin goes on beyond an end of the line, so that `width` is a lower bound."""
    return any(_reach(x, y, rise) == x[-1] for x, y in ((distance, loss), (-distance[::-1], loss[::-1])))


def _reach(distance: Array, loss: Array, rise: float) -> float:
    """How far to the right of the centre the loss is below the centre's plus `rise`."""
    x, y = distance[distance >= 0], loss[distance >= 0]
    level = y[0] + rise
    above = np.flatnonzero(~(y <= level))  # what is not finite is above
    if not len(above):
        return float(x[-1])
    i = above[0]
    share = (level - y[i - 1]) / (y[i] - y[i - 1]) if np.isfinite(y[i]) else 0.0
    return float(x[i - 1] + share * (x[i] - x[i - 1]))


def asymmetry(distance: Array, loss: Array) -> float:
    """(R − L)/(|R| + |L|), R and L the mean rises right and left of the centre, as far as both sides reach.

    0 for a symmetric line, positive where it rises more to the right, ±1 where only one side rises (asymmetric
    valleys: He et al. 2019, arXiv 1902.00744; the number is ours).
    """
    reach = min(distance[-1], -distance[0])
    right = _mean_rise(distance, loss, reach)
    left = _mean_rise(-distance[::-1], loss[::-1], reach)
    total = abs(right) + abs(left)
    return (right - left) / total if total > 0 else float("nan")


def _mean_rise(distance: Array, loss: Array, reach: float) -> float:
    inside = (distance >= 0) & (distance <= reach)
    x, y = distance[inside], loss[inside]
    return float(np.trapezoid(y - y[0], x) / (x[-1] - x[0])) if len(x) > 1 else float("nan")


def sharpness(distance: Array, loss: Array, *, rho: float) -> float:
    """max L − L(centre) within ρ of the centre on the line, the ends interpolated: at most that of a ball."""
    inside = np.abs(distance) <= rho
    ends = np.interp([-rho, rho], distance, loss)
    return float(max(loss[inside].max(), *ends) - loss[distance == 0][0])


def roughness(distance: Array, loss: Array) -> float:
    """How much the line goes up and down beyond what a single valley would: Σ|ΔL| less the heights of the two ends
    above its lowest point, in nats; 0 for every line with one valley (ours).
    """
    del distance
    moves, valley = float(np.abs(np.diff(loss)).sum()), float(loss[0] + loss[-1] - 2 * loss.min())
    return moves - valley if moves - valley > ROUNDING * moves else 0.0


def barrier(step: Array, loss: Array, start: float, end: float) -> float:
    """The largest rise of the loss over the straight line between two points (Frankle et al. 2020, arXiv 1912.05671).

    Args:
        step: (points,) coordinates, ascending.
        loss: there.
        start: coordinate of one end.
        end: of the other.
    """
    x = np.concatenate([[start], step[(step > start) & (step < end)], [end]])
    y = np.interp(x, step, loss)
    share = (x - start) / (end - start)
    rise = float((y - (1 - share) * y[0] - share * y[-1]).max())
    return 0.0 if rise <= ROUNDING * (abs(y[0]) + abs(y[-1])) else rise


def area(first: Array, second: Array, loss: Array, rise: float = RISE) -> float:
    """Area of the plane in which the loss is below the centre's plus `rise`, wherever it is.

    Each cell of the grid counts by the share of it that is below where it is taken to be two triangles.

    Args:
        first: (a,) distances along the first axis, ascending, 0 among them.
        second: (b,) along the second, at a right angle to the first.
        loss: (a·b,) or (a, b).
        rise: above the centre, in nats.
    """
    z = loss.reshape(len(first), len(second))
    z = z - (z[first == 0, second == 0][0] + rise)
    cells = np.diff(first)[:, None] * np.diff(second)[None, :]
    corners = z[:-1, :-1], z[1:, :-1], z[1:, 1:], z[:-1, 1:]
    lower = _share_below(corners[0], corners[1], corners[2])
    upper = _share_below(corners[0], corners[2], corners[3])
    return float((cells * (lower + upper) / 2).sum())


def spills_over(first: Array, second: Array, loss: Array, rise: float = RISE) -> bool:
    """Whether the loss is below the centre's plus `rise` somewhere on the border, so that `area` is a lower bound.

    Args:
        first: as of `area`.
        second: likewise.
        loss: likewise.
        rise: likewise.
    """
    below = loss.reshape(len(first), len(second))
    below = below <= below[first == 0, second == 0][0] + rise
    return bool(below[[0, -1]].any() or below[:, [0, -1]].any())


def _share_below(a: Array, b: Array, c: Array) -> Array:
    """The share of triangles in which a plane through three heights is below 0; one that is not finite is above."""
    heights = np.sort(np.nan_to_num(np.stack([a, b, c]), nan=np.inf), axis=0)
    low, middle, high = np.minimum(heights, np.finfo(np.float64).max ** 0.25)
    with np.errstate(divide="ignore", invalid="ignore"):
        below_one = low**2 / ((middle - low) * (high - low))  # only the lowest corner is below
        above_one = high**2 / ((high - low) * (high - middle))  # only the highest is above
    share = np.where(low >= 0, 0.0, np.where(middle >= 0, below_one, np.where(high >= 0, 1 - above_one, 1.0)))
    return np.asarray(share)
