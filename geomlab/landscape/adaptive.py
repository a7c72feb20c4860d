"""A surface to a tolerance: measured where interpolation is not good enough yet, all conditions at the same points.

Points lie on a square lattice that is made finer by centres: a point in the middle of every square, then one in the
middle of every square that those make with the first, turned by 45°. Every point is predicted from those before it and
then measured. The difference, the hierarchical surplus, is the error that the interpolation had there, in the middle of
a hole (as in sparse grids: Bungartz & Griebel 2004, Acta Numerica 13). What it was around a hole that is left, less as
the hole is smaller, is expected there. Times a factor, the 95 % quantile of error over expected of the 40 nearest, from
2 to 3, it is held against the tolerance; where it is too much the hole's middle is measured next. The mean over several
neighbours counts, not the largest: of a network with kinks a single surplus is nearly chance, and following each one
takes more points than a grid (a prototype). The lattice and the rules are ours.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from geomlab.landscape.interpolation import losses_between
from geomlab.stats import Array

Lattice = NDArray[np.int64]

SIDE = 64  # spacings of the finest lattice
COARSEST = 16  # the first points, 5 a side; two halvings by centres follow in any case: 9 a side
NEIGHBOURS = 9  # surpluses, whose root mean square is the expected error
ORDER = 2  # of the error in the size of a hole, at least: of a smooth surface it is about 4
RATIOS = 40  # errors around a place, over what was expected of each:
QUANTILE = 0.95  # of them is how many times the error expected there is held against the tolerance,
LEAST, MOST = 2.0, 3.0  # within these bounds; ours, as all of this
CHECKS = 16  # points at least at which a surface that seems good enough is tried, or
SHARE = 20  # one for so many;
ENOUGH = 8  # of them with a finite loss, without which nothing is called good
SCALE = 1.0  # nats: errors are absolute up to such a loss, and relative beyond


@dataclass(frozen=True, eq=False)
class Round:
    """Points that are measured at a time.

    Attributes:
        points: (n, 2) on the lattice, 0 to `SIDE`.
        check: whether they try a surface that seemed good enough.
    """

    points: Lattice
    check: bool


@dataclass(frozen=True, eq=False)
class Verdict:
    """How good the surface of a condition is.

    Attributes:
        error: the largest that is expected anywhere: of the estimates, and of the last check.
        checked: points of the last check, which were predicted before they were measured.
        check_error: the largest error there; NaN where none was finite.
        reached: whether `error` is within the tolerance.
    """

    error: float
    checked: int
    check_error: float
    reached: bool


@dataclass(frozen=True, eq=False)
class Refined:
    """What was measured.

    Attributes:
        points: (n, 2) on the lattice, in order.
        verdicts: condition -> how good its surface is.
    """

    points: Lattice
    verdicts: Mapping[str, Verdict]


Measure = Callable[[Round], tuple[Round, Mapping[str, Array]]]


def refine(measure: Measure, positions: tuple[Array, Array], tolerance: float, most: int) -> Refined:
    """Measure until the surface of each condition is within the tolerance.

    An error is |interpolated − measured| / max(`SCALE`, |measured|): in nats up to a loss of 1, a share of it beyond.
    Losses that are not finite are not interpolated, and nothing is refined for their sake.

    Args:
        measure: what is wanted -> what was measured, and (points, samples) the losses there of each condition. It may
            give another round than is wanted: one that was measured before, if there is one in that turn, whether
            anything is wanted or not. An empty one ends it.
        positions: (SIDE + 1,) of the lattice along either axis, as shares of its length: 0 to 1, ascending.
        tolerance: above 0.
        most: points; at least those of the first rounds, 81.
    """
    rounds: list[Round] = []
    surfaces: dict[str, _Surface] = {}
    while True:
        wanted = _next(rounds, surfaces, tolerance, most)
        made, losses = measure(wanted)
        if not len(made.points):
            break
        for name, of_samples in losses.items():
            surfaces.setdefault(name, _Surface(positions)).add(made, of_samples)
        rounds.append(made)
    every = np.concatenate([one.points for one in rounds])
    return Refined(every, {name: one.verdict(tolerance) for name, one in surfaces.items()})


def first_rounds() -> list[Round]:
    """5 × 5 points, the centres of their squares, and the centres of those."""
    coarse = range(0, SIDE + 1, COARSEST)
    points = [(i, j) for i in coarse for j in coarse]
    rounds = [Round(np.array(points), False)]
    known = set(points)
    half = COARSEST // 2
    for centres in (range(half, SIDE, COARSEST), range(0, SIDE + 1, half)):
        points = [(i, j) for i in centres for j in centres if (i, j) not in known]
        known.update(points)
        rounds.append(Round(np.array(points), False))
    return rounds


def _next(rounds: list[Round], surfaces: Mapping[str, "_Surface"], tolerance: float, most: int) -> Round:
    """Where some surface is not good enough; once all seem to be, a check of them."""
    first = first_rounds()
    if len(rounds) < len(first):
        return first[len(rounds)]
    count = sum(len(one.points) for one in rounds)
    estimates: dict[tuple[int, int], float] = {}
    for surface in surfaces.values():
        for point, estimate in surface.expected().items():
            estimates[point] = max(estimates.get(point, 0.0), estimate)
    wanted = sorted(point for point, estimate in estimates.items() if estimate > tolerance)
    check = not wanted
    if check and not all(one.passed(tolerance) for one in surfaces.values()):
        size = min(max(CHECKS, count // SHARE), max(most - count, 0))
        wanted = _drawn(rounds, surfaces, sorted(estimates), size)
    if count + len(wanted) > most:
        wanted = sorted(sorted(wanted, key=lambda point: -estimates[point])[: max(most - count, 0)])
    return Round(np.array(wanted, dtype=np.int64).reshape(-1, 2), check)


def _drawn(
    rounds: list[Round], surfaces: Mapping[str, "_Surface"], holes: list[tuple[int, int]], size: int
) -> list[tuple[int, int]]:
    """So many points, if there are, at which surfaces are tried, at random, where one of them is finite near by.

    Half are middles of holes, where errors are large. The others are any of the lattice that were not measured: what
    repeats from one middle to the next would look well at all of them.
    """
    known = {point for one in rounds for point in _tuples(one.points)}
    every = np.stack(np.meshgrid(np.arange(SIDE + 1), np.arange(SIDE + 1), indexing="ij"), -1).reshape(-1, 2)
    finite = np.any([one.finite(every) for one in surfaces.values()], axis=0)
    others = [point for point in _tuples(every[finite]) if point not in known]
    holes = sorted(set(holes) & set(others))
    draw = np.random.default_rng(len(known))
    middles = [holes[i] for i in draw.permutation(len(holes))[: size // 2]]
    rest = [others[i] for i in draw.permutation(len(others)) if others[i] not in set(middles)]
    return sorted([*middles, *rest[: size - len(middles)]])


class _Surface:
    """One condition: the losses so far, and what they say of the error."""

    def __init__(self, positions: tuple[Array, Array]) -> None:
        self._positions = positions
        self._losses: list[Array] = []  # (points, samples) of each round
        self._known: NDArray[np.bool_] = np.zeros(0, bool)  # whether the loss at each point is finite
        self._points: Lattice = np.zeros((0, 2), np.int64)
        # Of each point: the error of its prediction, NaN where none is known, the distance from those before it in
        # spacings, and how many times what was expected the error was.
        self._surplus, self._hole, self._ratios = np.zeros(0), np.zeros(0), np.zeros(0)
        # Errors of the last round, if it was a check, with those of checks just before it that were too few.
        self._check = np.zeros(0)

    def add(self, made: Round, losses: Array) -> None:
        """Take the losses of a round in, and the errors of their prediction."""
        error, hole = self._errors(made.points, losses), self._holes(made.points)
        ratio = np.full(len(error), np.nan)
        if len(self._losses) >= len(first_rounds()):
            with np.errstate(divide="ignore", invalid="ignore"):
                ratio = error / self._around(made.points)
        self._ratios = np.concatenate([self._ratios, ratio])
        self._points = np.concatenate([self._points, made.points])
        self._losses.append(losses)
        self._known = np.concatenate([self._known, np.isfinite(losses.sum(1))])
        self._surplus = np.concatenate([self._surplus, error])
        self._hole = np.concatenate([self._hole, hole])
        before = self._check[: len(self._check) if len(self._check) < ENOUGH else 0]
        self._check = np.concatenate([before, error[np.isfinite(error)]]) if made.check else np.zeros(0)

    def _safety(self, points: Lattice) -> Array:
        """How many times as large as expected errors around points are, nearly always."""
        known = np.isfinite(self._ratios)
        if known.sum() < RATIOS:
            return np.full(len(points), LEAST)
        near = KDTree(self._points[known]).query(points, RATIOS)[1]
        return np.asarray(np.clip(np.quantile(self._ratios[known][near], QUANTILE, axis=1), LEAST, MOST))

    def _around(self, points: Lattice) -> Array:
        """(n,) the root mean square of the surpluses around points, less as their holes are smaller.

        Infinite where too few are known.
        """
        predicted = (self._hole < np.inf) & ~np.isnan(self._surplus)
        if predicted.sum() < NEIGHBOURS:
            return np.full(len(points), np.inf)
        near = KDTree(self._points[predicted]).query(points, NEIGHBOURS)[1]
        smaller = np.minimum(self._holes(points)[:, None] / self._hole[predicted][near], 1.0)
        with np.errstate(over="ignore"):
            squares = (self._surplus[predicted][near] * smaller**ORDER) ** 2
        return np.asarray(np.sqrt(squares.mean(1)))

    def _holes(self, points: Lattice) -> Array:
        """(n,) distances from what was measured, in spacings; infinite where nothing was."""
        if not len(self._points):
            return np.full(len(points), np.inf)
        return np.asarray(KDTree(self._points).query(points)[0])

    def _errors(self, points: Lattice, losses: Array) -> Array:
        """(n,) of the prediction of the mean; NaN where that is not finite, or nothing is known near by."""
        if not len(self._points):
            return np.full(len(points), np.nan)
        of = partial(place, positions=self._positions)
        before = np.concatenate(self._losses)
        predicted = losses_between(of(self._points), of(points), before, self._known).mean(1)
        with np.errstate(invalid="ignore", over="ignore"):
            measured = losses.mean(1)
            error = np.abs(predicted - measured) / np.maximum(SCALE, np.abs(measured))
        return np.where(np.isfinite(measured) & np.isfinite(predicted), error, np.nan)

    def finite(self, points: Lattice) -> NDArray[np.bool_]:
        """(n,) whether the loss at the nearest measured point is."""
        return np.asarray(self._known[KDTree(self._points).query(points)[1]])

    def expected(self) -> dict[tuple[int, int], float]:
        """The middles of the holes that are left, where points were measured beside them, and the error there."""
        known = set(_tuples(self._points))
        holes = sorted({other for point in _refined(known) for other in _children(point)} - known)
        if not holes:
            return {}
        at = np.array(holes)
        error = np.where(self.finite(at), self._safety(at) * self._around(at), 0.0)
        return dict(zip(holes, error.tolist(), strict=True))

    def passed(self, tolerance: float) -> bool:
        """Whether the last rounds were checks of enough points, and they went well."""
        return len(self._check) >= ENOUGH and bool(self._check.max() <= tolerance)

    def verdict(self, tolerance: float) -> Verdict:
        """Of what was measured."""
        known = ~np.isnan(self._surplus)
        finest = self._surplus[known & (self._hole <= 1)]  # nothing is measured beside them
        worst = max([*self.expected().values(), *finest, *self._check], default=0.0)
        error = float(worst) if known.any() else float("nan")
        check_error = float(self._check.max()) if len(self._check) else float("nan")
        return Verdict(error, len(self._check), check_error, self.passed(tolerance) and error <= tolerance)


def place(points: Lattice, positions: tuple[Array, Array]) -> Array:
    """(n, 2) shares of the axes' lengths."""
    return np.stack([along[points[:, axis]] for axis, along in enumerate(positions)], 1)


def _tuples(points: Lattice) -> list[tuple[int, int]]:
    return [(i, j) for i, j in points.tolist()]


def _generation(point: tuple[int, int]) -> tuple[int, bool]:
    """The spacing that a point halves, and whether it is the centre of an upright square of that side.

    The largest power of two in both coordinates is half of the spacing; of a centre it is in both alike.
    """
    i, j = (value & -value if value else SIDE for value in point)
    return 2 * min(i, j), i == j


def _children(point: tuple[int, int]) -> list[tuple[int, int]]:
    """The centres of the squares that have this point and others as corners, one generation on."""
    spacing, upright = _generation(point)
    first = spacing > COARSEST  # of them only the squares between them count
    half = COARSEST // 2 if first else spacing // 2 if upright else spacing // 4
    straight = [(half, 0), (-half, 0), (0, half), (0, -half)]
    oblique = [(half, half), (half, -half), (-half, half), (-half, -half)]
    around = (straight if upright and not first else oblique) if half else []
    i, j = point
    return [(i + a, j + b) for a, b in around if 0 <= i + a <= SIDE and 0 <= j + b <= SIDE]


def _refined(known: set[tuple[int, int]]) -> set[tuple[int, int]]:
    """Of the points those that the lattice was refined to: the first ones, and middles beside such."""
    found = fresh = {point for one in first_rounds() for point in _tuples(one.points)} & known
    while fresh:
        fresh = ({other for point in fresh for other in _children(point)} & known) - found
        found = found | fresh
    return found
