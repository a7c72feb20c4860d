"""Products of the Gram matrices of all pairs of layers, apart for each pair of groups of samples."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from geomlab import stats
from geomlab.features.intervals import MIN_SAMPLES
from geomlab.features.similarity import require_samples
from geomlab.features.streamed import Layers
from geomlab.typing import Features, Float, Int, Vector

_ENTRIES = 2**24  # fp64 numbers of one block, 128 MiB
_ROWS = 1024  # samples at a time where all layers are


@dataclass(frozen=True, eq=False)
class Layer:
    """Features about their mean in fp64, read a few samples at a time, in the order of their groups.

    Attributes:
        features: (n, d) as they were computed, in memory or mapped into it.
        centre: (d,) their mean.
        order: (n,) the samples, those of a group together.
    """

    features: Features
    centre: Vector
    order: Int[Tensor, "n"]

    @classmethod
    def of(cls, features: Features, order: Int[Tensor, "n"]) -> "Layer":
        """Of these features."""
        parts = [block.double().sum(0) for block in features.split(_ROWS)]
        return cls(features, torch.stack(parts).sum(0) / len(features), order)

    @property
    def width(self) -> int:
        """d."""
        return self.features.shape[1]

    def rows(self, start: int, stop: int) -> Features:
        """The samples at these places of the order."""
        return self.features[self.order[start:stop]].double() - self.centre

    def gram(self, start: int, stop: int) -> Float[Tensor, "rows columns"]:
        """Of some samples with themselves and all after them, without the diagonal."""
        x = self.rows(start, len(self.order))
        return (x[: stop - start] @ x.T).fill_diagonal_(0)


@runtime_checkable
class Grams(Protocol):
    """What has Gram matrices as a `Layer`."""

    def gram(self, start: int, stop: int) -> Float[Tensor, "rows columns"]:
        """See there."""


@dataclass(frozen=True, eq=False)
class Products:
    """Σ K_ij M_ij over i ≠ j of K, M the Gram matrices of two layers, i in one group of samples and j in another.

    Attributes:
        between: of each layer of one network with each of the other.
        x: of each layer of the one with itself.
        y: and of the other.
    """

    between: Float[Tensor, "g g x y"]
    x: Float[Tensor, "g g x"]
    y: Float[Tensor, "g g y"]


def grouped(xs: Layers, ys: Layers, groups: int) -> tuple[list[Layer], list[Layer], list[int]]:
    """Layers of two networks with the samples in the order of their groups (`stats.group_of`), and the groups' sizes.

    Raises:
        ValueError: if n < 8, the samples differ in number, or there are fewer than 4 groups.
    """
    for one in (*xs, *ys):
        require_samples(xs[0], one, MIN_SAMPLES)
    if groups < 4:
        raise ValueError(f"expected at least 4 groups of samples, got {groups}")
    group = stats.group_of(len(xs[0]), groups)
    order = torch.from_numpy(np.argsort(group, kind="stable"))
    x, y = ([Layer.of(f, order) for f in side] for side in (xs, ys))
    return x, y, np.bincount(group).tolist()


def products(xs: Sequence[Layer], ys: Sequence[Layer], counts: Sequence[int]) -> Products:
    """Of Gram matrices at O(n²·Σd), or of the d × d' matrices of each pair of layers at O(n·Σd·Σd'), what costs less.

    Args:
        xs: layers of one network or condition.
        ys: of the other, on the same samples in the same order.
        counts: samples of each group, in that order.
    """
    n = sum(counts)
    widths = [[layer.width for layer in side] for side in (xs, ys)]
    dx, dy = map(sum, widths)
    own = sum(d * d for side in widths for d in side)
    grams = n * (n / 2 * (dx + dy) + n / 2 * len(xs) * len(ys))
    return of_grams(xs, ys, counts) if grams < n * (dx * dy + own) else of_features(xs, ys, counts)


def of_grams(xs: Sequence[Grams], ys: Sequence[Grams], counts: Sequence[int]) -> Products:
    """By blocks of the Gram matrices of all layers, of which half is enough; they take O(layers · n) at least."""
    n, groups = sum(counts), len(counts)
    below = [torch.zeros(groups, groups, *shape).double() for shape in _shapes(xs, ys)]
    square = [torch.zeros_like(one) for one in below]
    step = max(1, _ENTRIES // (n * (len(xs) + len(ys))))
    for start in range(0, n, step):
        stop = min(start + step, n)
        k, m = (torch.stack([layer.gram(start, stop) for layer in side]) for side in (xs, ys))
        for first, last, into in ((start, stop, square), (stop, n, below)):
            for g, rows in _segments(counts, start, stop):
                for h, columns in _segments(counts, first, last):
                    here = slice(rows.start - start, rows.stop - start)
                    there = slice(columns.start - start, columns.stop - start)
                    a, b = k[:, here, there].flatten(1), m[:, here, there].flatten(1)
                    for sums, found in zip(
                        into, (a @ b.T, a.square().sum(1), b.square().sum(1)), strict=True
                    ):
                        sums[g, h] += found
    return Products(*(s + b + b.transpose(0, 1) for s, b in zip(square, below, strict=True)))


def of_features(xs: Sequence[Layer], ys: Sequence[Layer], counts: Sequence[int]) -> Products:
    """⟨X_gᵀY_g, X_hᵀY_h⟩ of the groups' features, a pair of layers at a time, less what is of i = j."""
    between, own_x, own_y = (torch.zeros(len(counts), len(counts), *s).double() for s in _shapes(xs, ys))
    for p, x in enumerate(xs):
        own_x[..., p] = _of_pair(x, x, counts)
        for q, y in enumerate(ys):
            between[..., p, q] = _of_pair(x, y, counts)
    for q, y in enumerate(ys):
        own_y[..., q] = _of_pair(y, y, counts)
    for g, block in blocks(counts):
        rx, ry = (torch.stack([f.rows(*block).square().sum(1) for f in side]) for side in (xs, ys))
        between[g, g] -= rx @ ry.T
        own_x[g, g] -= rx.square().sum(1)
        own_y[g, g] -= ry.square().sum(1)
    return Products(between, own_x, own_y)


def blocks(counts: Sequence[int]) -> Iterator[tuple[int, tuple[int, int]]]:
    """Of few samples of one group: the group, and the places where the block starts and ends."""
    for g, rows in _segments(counts, 0, sum(counts)):
        for start in range(rows.start, rows.stop, _ROWS):
            yield g, (start, min(start + _ROWS, rows.stop))


def _of_pair(x: Layer, y: Layer, counts: Sequence[int]) -> Float[Tensor, "g g"]:
    """The d × d' matrices of all groups a few rows at a time."""
    found = torch.zeros(len(counts), len(counts)).double()
    step = max(1, _ENTRIES // (len(counts) * y.width))
    for first in range(0, x.width, step):
        columns = slice(first, min(first + step, x.width))
        parts = torch.zeros(len(counts), columns.stop - first, y.width).double()
        for g, block in blocks(counts):
            parts[g].addmm_(x.rows(*block)[:, columns].T, y.rows(*block))
        flat = parts.flatten(1)
        found += flat @ flat.T
    return found


def _shapes(xs: Sequence[object], ys: Sequence[object]) -> tuple[tuple[int, ...], ...]:
    return (len(xs), len(ys)), (len(xs),), (len(ys),)


def _segments(counts: Sequence[int], start: int, stop: int) -> Iterator[tuple[int, slice]]:
    """The groups among these places, and which of the places are theirs."""
    first = 0
    for g, count in enumerate(counts):
        low, high = max(first, start), min(first + count, stop)
        if low < high:
            yield g, slice(low, high)
        first += count
