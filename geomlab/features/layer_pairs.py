"""Linear CKA of every pair of layers with its interval, from one pass over pairs of samples or of features."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from geomlab import stats
from geomlab.features.group_products import Layer, blocks, grouped, products
from geomlab.features.intervals import Interval
from geomlab.features.left_out import interval_of_cka, kept
from geomlab.features.similarity import rounding
from geomlab.features.streamed import Layers
from geomlab.typing import Float


@dataclass(frozen=True, eq=False)
class _Linear:
    """The Gram matrix of a layer.

    Attributes:
        layer: its features.
        totals: the sum of each group's, centred.
    """

    layer: Layer
    totals: Float[Tensor, "groups d"]

    def sums(self, g: int, start: int, stop: int) -> Float[Tensor, "groups rows"]:
        x = self.layer.rows(start, stop)
        found: Tensor = self.totals @ x.T
        found[g] -= x.square().sum(1)
        return found


def cka_of_layers(xs: Layers, ys: Layers, *, groups: int = stats.GROUPS) -> Interval:
    """What `with_interval(cka, x, y, pairs=True)` gives of each layer of one network with each of the other.

    All are from the same products, of which each is taken once (`left_out`), at O(n·min(n·Σd, Σd·Σd')). Besides the
    features it takes memory for Gram matrices of a few samples with all, or for d × d' matrices of one pair of layers,
    and groups² numbers for each pair. Features of a spread between 1e-70 and 1e70 stay in range.

    Args:
        xs: (n, d) features of each layer of one network or condition, in memory or mapped into it, n >= 8.
        ys: (n, d') of the other, on the same samples; the layers may be others, and their number too.
        groups: of samples, at least 4; at most as many as there are samples.

    Returns:
        (layers of x, layers of y); NaN where a layer is constant to rounding, as `similarity.cka`.

    Raises:
        ValueError: if n < 8, the samples differ in number, or there are fewer than 4 groups.
    """
    x, y, counts = grouped(xs, ys, groups)
    totals_x, totals_y = _totals(x, counts), _totals(y, counts)
    none_x, none_y = _undefined(x, totals_x, counts), _undefined(y, totals_y, counts)
    return interval_of_cka(
        list(map(_Linear, x, totals_x)),
        list(map(_Linear, y, totals_y)),
        products(x, y, counts),
        counts,
        none_x[:, :, None] + none_y[:, None, :],
    )


def _totals(layers: Sequence[Layer], counts: Sequence[int]) -> list[Float[Tensor, "g _"]]:
    """The sum of each group's centred features in each layer."""
    found = [torch.zeros(len(counts), layer.width).double() for layer in layers]
    for g, block in blocks(counts):
        for total, layer in zip(found, layers, strict=True):
            total[g] += layer.rows(*block).sum(0)
    return found


def _undefined(
    layers: Sequence[Layer], totals: Sequence[Tensor], counts: Sequence[int]
) -> Float[Tensor, "cases layers"]:
    """NaN where what stays of a layer is constant (`similarity.is_constant`), else 0."""
    stays = kept(len(counts))
    size = stays @ stays.new_tensor(counts)
    norms = stays.new_zeros(len(counts), len(layers))
    for g, block in blocks(counts):
        norms[g] += torch.stack([layer.rows(*block).square().sum() for layer in layers])
    found = []
    for layer, total, squares in zip(layers, totals, (stays @ norms).T, strict=True):
        sums = stays @ total
        about_mean = squares - sums.square().sum(1) / size
        about_origin = about_mean + (sums + size[:, None] * layer.centre).square().sum(1) / size
        share = rounding(layer.features.dtype) ** 2
        found.append(torch.where(about_mean > share * about_origin, 0.0, torch.nan).double())
    return torch.stack(found, 1)
