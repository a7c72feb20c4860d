"""CKA and Gram drift of every pair of layers from batches of samples, exactly: sums first, one division at the end.

The mean of the batches' CKA is biased and depends on their size; this is the result of all samples at once, however
they are split.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from geomlab.features.similarity import alignment, hsic_of_sums, rounding
from geomlab.typing import Float

Layers = Sequence[Float[Tensor, "_ _"]]
Matrix = Float[Tensor, "rows columns"]
_SIDES = (0, 1)
_PANEL = 512  # columns of a symmetric product at a time: of fewer it is slower (ours)
_ROWS = 1024  # samples whose products are summed in single precision: of more it rounds more (ours)


@dataclass(frozen=True, eq=False)
class Sums:
    """Sums over samples, in fp64, of which the similarity of layers of one network with those of another is made.

    With u a sample's features in all layers, less a fixed centre, they are Σ u⁺v⁺ᵀ of u⁺ = (1, ‖u_p‖² of each layer p,
    u) and v⁺ of the other side, and the same of each layer with itself. A move of the centre is a linear map of u⁺
    (`_moved`), so what is asked about the mean of all samples follows at the end. The centre is the mean of the first
    batch: of m among n samples it is at most √(n/m) standard deviations from the mean of all, so the move costs a
    factor n/m of fp64's precision at worst, whatever the features' offset. Of one network with itself half of the
    products suffices: the sums between are symmetric, and those within are among them.

    Memory is O(Σd_x·Σd_y + Σd²), whatever n; a batch of m samples costs O(m) times as much. Features of a spread
    between 1e-70 and 1e70 stay in range. Made by `Sums.of`; `add` works in place, + makes new ones.

    Products in single precision take half the time: those of 1,024 samples, centred in fp64, are added to sums in fp64.
    A CKA is then off by about 1e-7, as single-precision features are themselves; a spread from 1e-17 to 1e17 stays in
    range, and a Gram drift below 1e-3 is rounding.

    Attributes:
        dtype: of the products, torch.float64 or torch.float32.
        precisions: in which each layer of each side was computed.
        centres: (d,) of each layer of each side.
        between: Σ u⁺v⁺ᵀ; of one network with itself while it is summed, its upper triangle.
        within: the same of each layer of each side with itself; empty of one network with itself while it is summed.
    """

    dtype: torch.dtype
    precisions: Sequence[Sequence[torch.dtype]]
    centres: Sequence[Sequence[Tensor]]
    between: Tensor
    within: Sequence[Sequence[Tensor]]

    @classmethod
    def of(cls, xs: Layers, ys: Layers | None = None, *, dtype: torch.dtype = torch.float64) -> "Sums":
        """Begin with the first batch.

        Args:
            xs: (n, d) features of each layer of one network or condition.
            ys: (n, d') of the other, on the same samples; the layers may be others, and their number too. None for xs
                with itself.
            dtype: of the products.

        Raises:
            ValueError: if there is no sample, not the same number in each layer, or the products are of another type.
        """
        if dtype not in (torch.float64, torch.float32):
            raise ValueError(f"expected products in torch.float64 or torch.float32, got {dtype}")
        if not len(xs[0]):
            raise ValueError("expected at least one sample in the first batch, got none")
        sides = (xs, xs if ys is None else ys)
        centres = [[f.double().mean(0) for f in side] for side in sides]
        like = centres[0][0]
        within = [[like.new_zeros(2 + len(c), 2 + len(c)) for c in side] for side in centres]
        sums = cls(
            dtype=dtype,
            precisions=[[f.dtype for f in side] for side in sides],
            centres=centres,
            between=like.new_zeros([1 + sum(1 + len(c) for c in side) for side in centres]),
            within=[] if ys is None else within,
        )
        sums.add(xs, ys)
        return sums

    @property
    def n(self) -> int:
        """Number of samples."""
        return round(float(self.between[0, 0]))

    def add(self, xs: Layers, ys: Layers | None = None) -> None:
        """Add a batch in place.

        Args:
            xs: as in the first batch, of other samples.
            ys: likewise.

        Raises:
            ValueError: if the samples differ in number between layers, or there is one network where there were two.
        """
        given = [xs] if ys is None else [xs, ys]
        counts = sorted({len(f) for side in given for f in side})
        if len(counts) > 1:
            raise ValueError(f"expected the same samples in every layer, got {counts}")
        if (ys is None) != (not self.within):
            raise ValueError("expected as many networks as in the first batch: one with itself, or two")
        sides = [
            [f.double() - c for f, c in zip(side, centres, strict=True)]
            for side, centres in zip(given, self.centres, strict=False)
        ]
        if not self.within:
            _add_upper(self.between, _extended(sides[0]).to(self.dtype))
            return
        _add_product(self.between, *(_extended(side).to(self.dtype) for side in sides))
        for s in _SIDES:
            for sums, f in zip(self.within[s], sides[s], strict=True):
                one_layer = _extended([f]).to(self.dtype)
                _add_product(sums, one_layer, one_layer)

    def __add__(self, other: "Sums") -> "Sums":
        """The sums over both sets of samples, of the same layers."""
        mine, theirs = self._whole(), other._whole()
        shifts = [
            [a - b for a, b in zip(*sides, strict=True)]
            for sides in zip(mine.centres, theirs.centres, strict=True)
        ]
        within = [
            [a + _moved(b, [d], [d]) for a, b, d in zip(*sides, strict=True)]
            for sides in zip(mine.within, theirs.within, shifts, strict=True)
        ]
        return replace(mine, between=mine.between + _moved(theirs.between, *shifts), within=within)

    def cka(self, *, debias: bool = True) -> Float[Tensor, "x y"]:
        """Linear CKA of each layer of one with each of the other: `similarity.cka` of all samples, its invariances too.

        Args:
            debias: as there.

        Returns:
            (layers of x, layers of y); NaN where one is constant to rounding.

        Raises:
            ValueError: if n < 4.
        """
        self._require(4)
        whole = self._whole()
        between, x, y = whole._centred()
        if debias:
            xy, xx, yy = (parts.hsic(self.n) for parts in (between, x, y))
        else:
            xy, xx, yy = between.product, x.product, y.product
        return alignment(xy, xx[:, None], yy) + whole._undefined(x, y)

    def gram_drift(self) -> Float[Tensor, "x y"]:
        """Relative change of the Gram matrix from each layer of y to each of x: `similarity.gram_drift` of all samples.

        Returns:
            (layers of x, layers of y), y is the reference; NaN where one is constant to rounding. The squares agree to
            fp64's precision, so a drift below 1e-7 is rounding.

        Raises:
            ValueError: if n < 3.
        """
        self._require(3)
        whole = self._whole()
        between, x, y = whole._centred()
        tx, ty = x.trace_x[:, None], y.trace_x
        xx, yy = x.product[:, None] / tx.square(), y.product / ty.square()
        squared = (xx + yy - 2 * between.product / (tx * ty)).clamp(min=0) / yy
        return squared.sqrt() + whole._undefined(x, y)

    def _require(self, least: int) -> None:
        if self.n < least:
            raise ValueError(f"expected n >= {least} samples, got {self.n}")

    def _whole(self) -> "Sums":
        """With all sums that there are between two networks."""
        if self.within:
            return self
        for start in range(0, len(self.between), _PANEL):
            self.between[start : start + _PANEL, :start] = self.between[:start, start : start + _PANEL].T
        widths = [len(c) for c in self.centres[0]]
        ends = 1 + len(widths) + torch.tensor(widths).cumsum(0)
        own = []
        for layer, (width, end) in enumerate(zip(widths, ends.tolist(), strict=True)):
            rows = torch.tensor([0, 1 + layer, *range(end - width, end)], device=self.between.device)
            own.append(self.between[rows][:, rows])
        return replace(self, within=[own, own])

    def _means(self) -> list[list[Tensor]]:
        """Of each layer of each side, less the centre."""
        return [[sums[2:, 0] / self.n for sums in side] for side in self.within]

    def _centred(self) -> "tuple[_Parts, _Parts, _Parts]":
        """Of the sums about the means: between the sides, and of each layer of x and of y with itself."""
        means = self._means()
        own = [
            [_Parts.of(_moved(sums, [d], [d]), [len(d)], [len(d)]) for sums, d in zip(*side, strict=True)]
            for side in zip(self.within, means, strict=True)
        ]
        widths = [[len(d) for d in side] for side in means]
        return _Parts.of(_moved(self.between, *means), *widths), _Parts.joined(own[0]), _Parts.joined(own[1])

    def _undefined(self, *own: "_Parts") -> Float[Tensor, "x y"]:
        """NaN for pairs with a layer that is constant (`similarity.is_constant`), else 0."""
        found = []
        for parts, means, centres, kinds in zip(
            own, self._means(), self.centres, self.precisions, strict=True
        ):
            mean = torch.stack([(d + c).square().sum() for d, c in zip(means, centres, strict=True)])
            share = mean.new_tensor([rounding(kind) for kind in kinds])
            varies = parts.trace_x.sqrt() > share * (parts.trace_x + self.n * mean).sqrt()
            found.append(torch.where(varies, 0.0, torch.nan).double())
        return found[0][:, None] + found[1]


@dataclass(frozen=True, eq=False)
class _Parts:
    """What `similarity.hsic_of_sums` is made of, of pairs of layers: see there."""

    product: Tensor
    norms: Tensor
    trace_x: Tensor
    trace_y: Tensor

    @classmethod
    def of(cls, sums: Matrix, x: list[int], y: list[int]) -> "_Parts":
        """From sums about the means, of layers of these widths; (x, y), the traces (x, 1) and (y,)."""
        blocks = [row.split(y, dim=1) for row in sums[1 + len(x) :, 1 + len(y) :].split(x)]
        product = torch.stack([torch.stack([block.square().sum() for block in row]) for row in blocks])
        a, b = slice(1, 1 + len(x)), slice(1, 1 + len(y))
        return cls(product, sums[a, b], sums[a, :1], sums[0, b])

    @classmethod
    def joined(cls, layers: "list[_Parts]") -> "_Parts":
        """(layers,) from those of each layer with itself."""
        fields = ("product", "norms", "trace_x", "trace_y")
        return cls(*(torch.cat([getattr(layer, name).flatten() for layer in layers]) for name in fields))

    def hsic(self, n: int) -> Tensor:
        return hsic_of_sums(n, self.product, self.norms, self.trace_x, self.trace_y)


def _extended(layers: Sequence[Tensor]) -> Matrix:
    """(n, 1 + layers + Σd): u⁺ of each sample."""
    norms = torch.stack([f.square().sum(1) for f in layers], dim=1)
    return torch.cat([torch.ones_like(norms[:, :1]), norms, *layers], dim=1)


def _add_upper(sums: Matrix, extended: Float[Tensor, "n columns"]) -> None:
    """Add Σ u⁺u⁺ᵀ to the upper triangle, and some to the lower."""
    for start in range(0, len(sums), _PANEL):
        end = start + _PANEL
        _add_product(sums[:end, start:end], extended[:, :end], extended[:, start:end])


def _add_product(sums: Matrix, left: Float[Tensor, "n rows"], right: Float[Tensor, "n columns"]) -> None:
    """Add Σ uvᵀ, in the precision of u and v."""
    if sums.dtype == left.dtype:
        sums.addmm_(left.T, right)
        return
    for u, v in zip(left.split(_ROWS), right.split(_ROWS), strict=True):
        sums += u.T @ v


def _moved(sums: Matrix, x: Sequence[Tensor], y: Sequence[Tensor]) -> Matrix:
    """Σ u⁺v⁺ᵀ about centres that have moved by these shifts of each layer."""
    moved = sums.clone()
    _move_rows(moved, x)
    _move_rows(moved.T, y)
    return moved


def _move_rows(sums: Matrix, shifts: Sequence[Tensor]) -> None:
    """Those of u⁺, in place: u becomes u − δ, and ‖u − δ‖² = ‖u‖² − 2⟨δ, u⟩ + ‖δ‖², with 1 in the first row of sums."""
    layers = len(shifts)
    one, norms, features = sums[0], sums[1 : 1 + layers], sums[1 + layers :]
    parts = features.split([len(d) for d in shifts])
    along = torch.stack([d @ part for d, part in zip(shifts, parts, strict=True)])
    lengths = torch.stack([d @ d for d in shifts])
    norms.addr_(lengths, one).sub_(along, alpha=2)
    features.addr_(torch.cat(list(shifts)), one, alpha=-1)
