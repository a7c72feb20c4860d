"""CKA of a Gaussian kernel of every pair of layers with its interval, from n × n matrices."""

from dataclasses import dataclass

import torch
from torch import Tensor

from geomlab import stats
from geomlab.features.group_products import Layer, grouped, of_grams
from geomlab.features.intervals import Interval
from geomlab.features.kernel import median_square, squared_distances
from geomlab.features.left_out import interval_of_cka
from geomlab.features.similarity import is_constant
from geomlab.features.streamed import Layers
from geomlab.typing import Float


@dataclass(frozen=True, eq=False)
class _Gaussian:
    """exp(−‖x_i − x_j‖²/scale) of a layer.

    Attributes:
        layer: its features.
        scale: NaN where there is none.
        totals: Σ_j over the j ≠ i of each group, of each sample.
    """

    layer: Layer
    scale: float
    totals: Float[Tensor, "groups n"]

    @classmethod
    def of(cls, layer: Layer, counts: list[int], bandwidth: float) -> "_Gaussian":
        x = layer.rows(0, sum(counts))
        distances = squared_distances(x)
        constant = is_constant(layer.features, layer.features.dtype)
        median = torch.nan if constant else float(median_square(distances, x.square().sum()))
        scale = 2 * bandwidth**2 * median
        kernel = torch.exp(-distances / scale).fill_diagonal_(0)
        return cls(layer, scale, torch.stack([part.sum(0) for part in kernel.split(counts)]))

    def gram(self, start: int, stop: int) -> Float[Tensor, "rows columns"]:
        x = self.layer.rows(start, len(self.layer.order))
        norms = x.square().sum(1)
        rows = slice(stop - start)
        distances = (norms[rows, None] + norms - 2 * (x[rows] @ x.T)).clamp_(min=0)
        return torch.exp(-distances / self.scale).fill_diagonal_(0)

    def sums(self, g: int, start: int, stop: int) -> Float[Tensor, "groups rows"]:
        return self.totals[:, start:stop]


def rbf_cka_of_layers(
    xs: Layers, ys: Layers, *, bandwidth: float = 1.0, groups: int = stats.GROUPS
) -> Interval:
    """`kernel.rbf_cka` of each layer of one network with each of the other, and its interval.

    The bandwidth is that of all samples in every sample that the jackknife leaves (ours): it is part of the question,
    as k of neighbours is, and every kernel is taken once and not for each group anew. Time O(n²·(Σd + layers²)); memory
    for the n² distances of one layer.

    Args:
        xs: (n, d) features of each layer of one network or condition, in memory or mapped into it, n >= 8.
        ys: (n, d') of the other, on the same samples; the layers may be others, and their number too.
        bandwidth: σ in medians of the distances between two samples.
        groups: of samples, at least 4; at most as many as there are samples.

    Returns:
        (layers of x, layers of y); NaN as `kernel.rbf_cka`.

    Raises:
        ValueError: if n < 8, the samples differ in number, or there are fewer than 4 groups.
    """
    x, y, counts = grouped(xs, ys, groups)
    k, m = ([_Gaussian.of(layer, counts, bandwidth) for layer in side] for side in (x, y))
    return interval_of_cka(k, m, of_grams(k, m, counts), counts, torch.zeros(1, 1, 1).double())
