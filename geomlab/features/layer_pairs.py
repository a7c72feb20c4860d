"""Linear CKA of every pair of layers with its interval, from one pass over pairs of samples or of features."""

import math
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from geomlab import stats
from geomlab.features.group_products import Layer, Products, blocks, products
from geomlab.features.intervals import MIN_SAMPLES, Interval, interval_of_pairs
from geomlab.features.similarity import alignment, require_samples, rounding
from geomlab.features.streamed import Layers
from geomlab.typing import Features, Float

Weights = Float[Tensor, "cases g"]


def cka_of_layers(xs: Layers, ys: Layers, *, groups: int = stats.GROUPS) -> Interval:
    """What `with_interval(cka, x, y, pairs=True)` gives of each layer of one network with each of the other.

    With groups of samples left out, the debiased HSIC is made of sums over pairs of groups (`Products`) and over the
    samples that stay; so all are from the same products, of which each is taken once. O(n·min(n·Σd, Σd·Σd')) time.
    Besides the features it takes memory for Gram matrices of a few samples with all, or for d × d' matrices of one pair
    of layers, and groups² numbers for each pair. Features of a spread between 1e-70 and 1e70 stay in range.

    Args:
        xs: (n, d) features of each layer of one network or condition, in memory or mapped into it, n >= 8.
        ys: (n, d') of the other, on the same samples; the layers may be others, and their number too.
        groups: of samples, at least 4; at most as many as there are samples.

    Returns:
        (layers of x, layers of y); NaN where a layer is constant to rounding, as `similarity.cka`.

    Raises:
        ValueError: if n < 8, the samples differ in number, or there are fewer than 4 groups.
    """
    for one in (*xs, *ys):
        require_samples(xs[0], one, MIN_SAMPLES)
    if groups < 4:
        raise ValueError(f"expected at least 4 groups of samples, got {groups}")
    n = len(xs[0])
    group = stats.group_of(n, groups)
    counts = np.bincount(group).tolist()
    order = torch.from_numpy(np.argsort(group, kind="stable"))
    x, y = ([Layer.of(f, order) for f in side] for side in (xs, ys))
    whole, one_out, two_out = _ckas((x, y), products(x, y, counts), counts).split(
        [1, len(counts), math.comb(len(counts), 2)]
    )
    return interval_of_pairs(whole[0], one_out, two_out)


def _ckas(
    sides: Sequence[Sequence[Layer]], sums: Products, counts: Sequence[int]
) -> Float[Tensor, "cases x y"]:
    """Of all samples, without each group, and without each two."""
    kept = _kept(len(counts))
    totals = [_totals(side, counts) for side in sides]
    (rows, rows_x, rows_y), (all_x, all_y) = _row_sums(sides, totals, counts, kept)
    size = kept @ kept.new_tensor(counts)
    xy = _hsic(size, _over_groups(kept, sums.between), rows, all_x[:, :, None] * all_y[:, None, :])
    xx = _hsic(size, _over_groups(kept, sums.x), rows_x, all_x.square())
    yy = _hsic(size, _over_groups(kept, sums.y), rows_y, all_y.square())
    x, y = (_undefined(side, total, counts, kept) for side, total in zip(sides, totals, strict=True))
    return alignment(xy, xx[:, :, None], yy[:, None, :]) + x[:, :, None] + y[:, None, :]


def _kept(groups: int) -> Weights:
    """1 for the groups that stay, else 0."""
    cases = [(), *combinations(range(groups), 1), *combinations(range(groups), 2)]
    kept = torch.ones(len(cases), groups).double()
    for row, gone in zip(kept, cases, strict=True):
        row[list(gone)] = 0
    return kept


def _totals(layers: Sequence[Layer], counts: Sequence[int]) -> list[Float[Tensor, "g _"]]:
    """The sum of each group's centred features in each layer."""
    found = [torch.zeros(len(counts), layer.width).double() for layer in layers]
    for g, block in blocks(counts):
        for total, layer in zip(found, layers, strict=True):
            total[g] += layer.rows(*block).sum(0)
    return found


def _row_sums(
    sides: Sequence[Sequence[Layer]],
    totals: Sequence[Sequence[Tensor]],
    counts: Sequence[int],
    kept: Weights,
) -> tuple[list[Tensor], list[Tensor]]:
    """Of k_i = Σ_j K_ij over the samples j ≠ i that stay: Σ_i k_i m_i of layers x and y, of x and of y alone; Σ_i k_i.

    (cases, x, y), (cases, x) and (cases, y); (cases, x) and (cases, y).
    """
    cases, layers = len(kept), [len(side) for side in sides]
    squares = [kept.new_zeros(cases, *shape) for shape in (layers, layers[:1], layers[1:])]
    sums = [kept.new_zeros(cases, several) for several in layers]
    for g, block in blocks(counts):
        stays = kept[:, g] == 1
        k, m = (
            torch.stack(
                [_rows(layer.rows(*block), total, kept[stays]) for layer, total in zip(*side, strict=True)], 1
            )
            for side in zip(sides, totals, strict=True)
        )
        for into, found in zip(squares, (k @ m.mT, k.square().sum(2), m.square().sum(2)), strict=True):
            into[stays] += found
        for into, rows in zip(sums, (k, m), strict=True):
            into[stays] += rows.sum(2)
    return squares, sums


def _rows(x: Features, totals: Float[Tensor, "g d"], kept: Weights) -> Float[Tensor, "cases n"]:
    """⟨x_i, Σ_j x_j⟩ of samples whose group stays in all cases, over the j ≠ i that stay."""
    return kept @ (totals @ x.T) - x.square().sum(1)


def _over_groups(kept: Weights, sums: Float[Tensor, "g g *pairs"]) -> Float[Tensor, "cases *pairs"]:
    """Over the pairs of groups that stay."""
    both = (kept[:, :, None] * kept[:, None, :]).flatten(1)
    found: Tensor = both @ sums.flatten(2).flatten(0, 1)
    return found.view(len(kept), *sums.shape[2:])


def _hsic(
    n: Float[Tensor, "cases"],
    product: Float[Tensor, "cases *pairs"],
    rows: Float[Tensor, "cases *pairs"],
    total: Float[Tensor, "cases *pairs"],
) -> Float[Tensor, "cases *pairs"]:
    """`kernel.debiased_kernel_hsic` of its sums, for which any centre does."""
    n = n.view(-1, *[1] * (product.ndim - 1))
    found: Tensor = (product + total / ((n - 1) * (n - 2)) - 2 / (n - 2) * rows) / (n * (n - 3))
    return found


def _undefined(
    layers: Sequence[Layer], totals: Sequence[Tensor], counts: Sequence[int], kept: Weights
) -> Float[Tensor, "cases layers"]:
    """NaN where what stays of a layer is constant (`similarity.is_constant`), else 0."""
    size = kept @ kept.new_tensor(counts)
    norms = kept.new_zeros(len(counts), len(layers))
    for g, block in blocks(counts):
        norms[g] += torch.stack([layer.rows(*block).square().sum() for layer in layers])
    found = []
    for layer, total, squares in zip(layers, totals, (kept @ norms).T, strict=True):
        sums = kept @ total
        about_mean = squares - sums.square().sum(1) / size
        about_origin = about_mean + (sums + size[:, None] * layer.centre).square().sum(1) / size
        share = rounding(layer.features.dtype) ** 2
        found.append(torch.where(about_mean > share * about_origin, 0.0, torch.nan).double())
    return torch.stack(found, 1)
