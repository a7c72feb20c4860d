"""Debiased CKA of every pair of kernels without groups of samples, from sums over pairs of groups."""

import math
from collections.abc import Sequence
from itertools import combinations
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from geomlab.features.group_products import Products, blocks
from geomlab.features.intervals import Interval, interval_of_pairs
from geomlab.features.similarity import alignment
from geomlab.typing import Float

Weights = Float[Tensor, "cases g"]


@runtime_checkable
class Rows(Protocol):
    """A kernel K of samples in the order of their groups."""

    def sums(self, g: int, start: int, stop: int) -> Float[Tensor, "groups rows"]:
        """Σ K_ij over the j ≠ i of each group, of samples i of group g at these places."""


def interval_of_cka(
    xs: Sequence[Rows], ys: Sequence[Rows], products: Products, counts: Sequence[int], undefined: Tensor
) -> Interval:
    """From the debiased HSIC (Song et al. 2012, eq. 4) of all samples, without each group, and without each two.

    Each is made of the sums over pairs of groups, and of those over the samples that stay, so none needs another pass.

    Args:
        xs: kernels of one network or condition.
        ys: of the other, on the same samples in the same order.
        products: of both.
        counts: samples of each group, 4 groups or more.
        undefined: (cases, x, y), or what becomes it, NaN where there is no CKA and else 0; the cases as of `kept`.

    Returns:
        (x, y).
    """
    stays = kept(len(counts))
    (rows, rows_x, rows_y), (all_x, all_y) = _row_sums(xs, ys, counts, stays)
    size = stays @ stays.new_tensor(counts)
    xy = _hsic(size, _over_groups(stays, products.between), rows, all_x[:, :, None] * all_y[:, None, :])
    xx = _hsic(size, _over_groups(stays, products.x), rows_x, all_x.square())
    yy = _hsic(size, _over_groups(stays, products.y), rows_y, all_y.square())
    found = alignment(xy, xx[:, :, None], yy[:, None, :]) + undefined
    whole, one_out, two_out = found.split([1, len(counts), math.comb(len(counts), 2)])
    return interval_of_pairs(whole[0], one_out, two_out)


def kept(groups: int) -> Weights:
    """1 for the groups that stay, else 0: of all samples, without each group, and without each two."""
    cases = [(), *combinations(range(groups), 1), *combinations(range(groups), 2)]
    kept = torch.ones(len(cases), groups).double()
    for row, gone in zip(kept, cases, strict=True):
        row[list(gone)] = 0
    return kept


def _row_sums(
    xs: Sequence[Rows], ys: Sequence[Rows], counts: Sequence[int], kept: Weights
) -> tuple[list[Tensor], list[Tensor]]:
    """Of k_i = Σ_j K_ij over the samples j ≠ i that stay: Σ_i k_i m_i of kernels x and y, of x and of y alone; Σ_i k_i.

    (cases, x, y), (cases, x) and (cases, y); (cases, x) and (cases, y).
    """
    shapes = ((len(xs), len(ys)), (len(xs),), (len(ys),))
    squares = [kept.new_zeros(len(kept), *shape) for shape in shapes]
    sums = [kept.new_zeros(len(kept), *shape) for shape in shapes[1:]]
    for g, block in blocks(counts):
        stays = kept[:, g] == 1
        k, m = (
            torch.stack([kept[stays] @ kernel.sums(g, *block) for kernel in side], 1) for side in (xs, ys)
        )
        for into, found in zip(squares, (k @ m.mT, k.square().sum(2), m.square().sum(2)), strict=True):
            into[stays] += found
        for into, rows in zip(sums, (k, m), strict=True):
            into[stays] += rows.sum(2)
    return squares, sums


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
