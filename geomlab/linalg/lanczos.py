"""Extreme eigenpairs by thick-restart Lanczos with full reorthogonalisation, and a search for what it could not see.

The Krylov space of one start vector holds one vector of each eigenspace, and none that is orthogonal to the start. So
when all wanted pairs have converged the iteration goes on from a fresh random vector, orthogonal to all it has. An
eigenvalue that was hidden (a second copy, an unlucky start) then comes up among the wanted ones, and everything begins
again with it, until a search ends with nothing found. Sources: Golub & Van Loan 2013, 10.1-10.3; Wu & Simon 2000
(restart); Kuczyński & Woźniakowski 1992 (how fast a random start finds the largest eigenvalue).
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from geomlab.linalg import rows
from geomlab.linalg.basis import Basis
from geomlab.linalg.estimates import Eigenpairs
from geomlab.linalg.operator import Operator
from geomlab.linalg.random import uniform
from geomlab.typing import Float, Vector

SEARCH = 6  # products of a search for hidden eigenvalues, by default
# Residuals below this times the largest |λ| are rounding: no eigenvalue can be asked to converge beyond it.
_FLOOR = {torch.float32: 1e-6, torch.float64: 1e-13}
# The recurrence's residuals are asked to leave this part of the bound, and this part of what is rounding, to rounding.
_MARGIN, _ROUNDING = 0.1, 0.65


def eigenpairs(
    operator: Operator,
    k: int,
    generator: torch.Generator,
    *,
    bottom: int = 1,
    both: bool = False,
    tolerance: float = 1e-3,
    max_products: int = 200,
    max_basis: int | None = None,
    search: int = SEARCH,
) -> tuple[Eigenpairs, Eigenpairs]:
    """The algebraically largest eigenpairs, and the smallest ones that the same Krylov space holds.

    Every product is kept as its components along the basis and what it has outside, so the images of what is returned
    are linear combinations of products, to rounding, and so are the residuals ‖Av − λv‖. One product more, of a random
    combination of all that is returned, checks all images at once; what it is off counts as residual, and where that
    alone would keep a pair from the tolerance, as rounding of large eigenvalues does with small ones, the pair is
    settled by a product of its own.

    Memory: min(products, max_basis) vectors in the operator's precision, in blocks of 8, and three or four more; then
    in their place k + bottom, and 2(k + bottom) of the pairs, of which the latter are left. Inner products are
    those of `rows`. Work beside the products: about 2·basis·dim multiplications a product, twice that in a
    search.

    Args:
        operator: symmetric.
        k: number of largest eigenpairs, at most the dimension.
        generator: of the start vectors (CPU).
        bottom: number of smallest ones, at least 1.
        both: whether the iteration waits for the smallest ones to converge as well.
        tolerance: a pair has converged if its residual ‖Av − λv‖ is at most tolerance·|λ|, or is rounding: at most
            1e-6 (fp64: 1e-13) of the largest |λ| found.
        max_products: stop after so many matrix-vector products; those that check come on top.
        max_basis: vectors kept before the space is restarted from its best Ritz vectors, at least `least_basis`; None
            never does.
        search: products of the search for hidden eigenvalues; 0 for none. A hidden eigenvalue well above the rest is
            found within a few, one near the k-th may be missed.

    Returns:
        The k largest, descending; and the smallest ones, descending too, whose status is judged alike though the
        iteration only waits for them where `both` says so.

    Raises:
        ValueError: if a number is too small.
    """
    if k < 1 or bottom < 1:
        raise ValueError(f"expected k >= 1 and bottom >= 1 eigenpairs, got {k} and {bottom}")
    if max_basis is not None and max_basis < least_basis(k, bottom):
        raise ValueError(f"expected max_basis >= k + bottom + 4 = {least_basis(k, bottom)}, got {max_basis}")
    k, bottom = min(k, operator.dim), min(bottom, operator.dim)
    space = _Space(operator, generator)
    searched = _iterate(
        space,
        k,
        bottom,
        both=both,
        tolerance=tolerance,
        limit=max(max_products, k, bottom),
        max_basis=max_basis or operator.dim + 1,
        search=search,
    )
    if len(space) > k + bottom:  # so that the rest makes room
        space.shrink(torch.cat([torch.arange(k), torch.arange(len(space) - bottom, len(space))]))
    found = [space.pairs(slice(k)), space.pairs(slice(-bottom, None))]
    space.release()
    off = _check(operator, found, generator)
    unsearched = "" if searched or search == 0 else "; hidden eigenvalues not looked for"

    def judged(
        pairs: tuple[Tensor, Tensor, Tensor], products: int, end: Literal["top", "bottom"]
    ) -> Eigenpairs:
        values, vectors, images = pairs
        residuals, spent = _prove(space, values, vectors, images, off, tolerance)
        good = residuals <= space.bound(values.cpu(), tolerance)
        bad = int((~good).sum())
        converged = f"converged{unsearched}" if end == "top" else "converged"  # the search is for larger ones
        status = f"not converged: {bad} of {len(good)}" if bad else converged
        return Eigenpairs(values.cpu(), vectors, images, residuals, good, status, products + spent, end)

    top, low = found
    return judged(top, space.products + 1, "top"), judged(low, 0, "bottom")


def least_basis(k: int, bottom: int = 1) -> int:
    """Vectors that a restart needs at least: those wanted, and room to grow."""
    return k + bottom + 4


def basis_within(room: float, operator: Operator, k: int) -> int:
    """Basis vectors that fit into so many bytes; those that a restart needs at least."""
    return max(int(room / (operator.dim * operator.dtype.itemsize)), least_basis(k))


def _prove(
    space: "_Space", values: Tensor, vectors: Tensor, images: Tensor, off: float, tolerance: float
) -> tuple[Tensor, int]:
    """Residuals (k,), and the products spent on those that `off` leaves in doubt: a product of their own settles them.

    Their values and images are replaced by what it says, in place; all stay descending, but for rounding.
    """
    residuals = rows.residual_norms(images, vectors, values).cpu()
    bound = space.bound(values.cpu(), tolerance)
    doubtful = (residuals + off > bound) & (residuals <= bound + 3 * off)
    which = doubtful.nonzero()[:, 0].tolist()
    residuals += off
    for i in which:
        one = slice(i, i + 1)
        images[:, i] = space.operator.matvec(vectors[:, i].contiguous())
        values[i] = rows.dot(vectors[:, i], images[:, i]) / rows.dot(vectors[:, i], vectors[:, i])
        residuals[one] = rows.residual_norms(images[:, one], vectors[:, one], values[one]).cpu()
    return residuals, len(which)


def _iterate(
    space: "_Space",
    k: int,
    bottom: int,
    *,
    both: bool,
    tolerance: float,
    limit: int,
    max_basis: int,
    search: int,
) -> bool:
    """Grow the space until the wanted pairs have converged; whether a search after that found nothing more."""
    settled: Tensor | None = None  # the wanted values before the last search
    left = 0  # products of the search that goes on
    alive = space.grow(None)
    while True:
        m = len(space)
        if m == space.operator.dim:
            return True
        wanted = torch.arange(m)[:k]
        if both:
            wanted = torch.cat([wanted, torch.arange(m)[-bottom:]])
        shares = space.shares(wanted, tolerance)
        ready = m >= k + bottom * both and bool((shares.sum(0) <= 1).all())
        values = space.theta[wanted]
        if ready and not left:
            new = settled is None or bool(((values - settled).abs() > space.bound(values, tolerance)).any())
            if not search or not new:
                return True
            settled, left = values, search
        if space.products >= limit:
            return False
        if m == max_basis:
            space.shrink(_best(m, k, bottom))
        if left:
            alive = space.grow(-1 if alive and left < search else None)
            left -= 1
        else:
            alive = space.grow(int(shares.amax(1).argmax()) if len(shares) else None)


def _best(m: int, k: int, bottom: int) -> Tensor:
    """Which of m Ritz pairs a restart keeps: the wanted ones, and half of the room left for the next of each end."""
    spare = (m - k - bottom) // 2
    low = bottom + spare // 4
    return torch.cat([torch.arange(k + spare - spare // 4), torch.arange(m - low, m)])


def _check(
    operator: Operator, found: list[tuple[Tensor, Tensor, Tensor]], generator: torch.Generator
) -> float:
    """How far images may be from the products of their vectors: ‖E‖_F, estimated by ‖Ec‖·√k for a random unit c.

    Not for random signs: where two of the images are alike, as the last of the top and the bottom one may be, those let
    errors cancel.
    """
    count = sum(len(values) for values, _, _ in found)
    c = torch.randn(count, generator=generator, dtype=torch.float64)
    c = (c / c.norm()).to(operator.device, operator.dtype)
    parts = c.split([len(values) for values, _, _ in found])
    (_, vectors, images), *others = found
    vector, image = vectors @ parts[0], images @ parts[0]
    for (_, vectors, images), part in zip(others, parts[1:], strict=True):
        vector.addmv_(vectors, part)
        image.addmv_(images, part)
    return rows.norm(operator.matvec(vector) - image) * math.sqrt(count)


@dataclass
class _End:
    """What images have outside the space.

    Attributes:
        vector: a direction (dim,) of length 1, orthogonal to the space.
        parts: (basis,) the component of each basis vector's image along it.
    """

    vector: Vector
    parts: Float[Tensor, "basis"]


class _Space:
    """A subspace V with an orthonormal basis, and the operator on it: AV = VT + Σ end·partsᵀ.

    Attributes:
        operator: what is projected.
        products: spent so far.
        scale: the largest |Ritz value| so far.
        theta: Ritz values, descending, fp64.
        s: their vectors' coefficients, as columns.
    """

    def __init__(self, operator: Operator, generator: torch.Generator) -> None:
        self.operator, self._generator = operator, generator
        self._basis = Basis(torch.empty(operator.dim, dtype=operator.dtype, device=operator.device))
        self._projected = torch.zeros(0, 0, dtype=torch.float64)
        self._ends: list[_End] = []
        self.products, self.scale = 0, 0.0
        self.theta, self.s = torch.zeros(0), torch.zeros(0, 0)

    def __len__(self) -> int:
        return len(self._basis)

    def grow(self, end: int | None) -> bool:
        """One product more, along one of the ends or, for None, along a fresh random vector.

        Returns:
            Whether the new image has a part outside the space that is more than rounding; it is then the last end.
        """
        m = len(self)
        expected = torch.zeros(m + 1, dtype=torch.float64)  # the image's components, by symmetry
        if end is None:
            used = self._fresh()
        else:
            popped = self._ends.pop(end)
            used, expected[:m] = popped.vector, popped.parts
        vector = self._basis.append(used)
        self._leave(vector, expected)
        image = self.operator.matvec(used)  # no part of the basis is handed out
        self.products += 1
        expected[m] = rows.dot(vector, image)
        remainder, along, length = self._basis.orthogonalise(image, expected, out=used)
        grown = torch.zeros(m + 1, m + 1, dtype=torch.float64)
        grown[:m, :m], grown[:, m], grown[m, :] = self._projected, along.cpu(), along.cpu()
        self._projected = grown
        theta, s = torch.linalg.eigh(grown)
        self.theta, self.s = theta.flip(0), s.flip(1)
        self.scale = max(self.scale, float(theta.abs().max()))
        if length <= self._rounding:
            return False
        parts = torch.zeros(m + 1, dtype=torch.float64)
        parts[m] = length
        self._ends.append(_End(remainder.div_(length), parts))
        return True

    def _leave(self, vector: Vector, expected: Float[Tensor, "basis"]) -> None:
        """Make the ends orthogonal to a vector that the space has grown by, and drop those that have come to lie in it.

        Args:
            vector: the last one of the basis.
            expected: what its image has along the others is added here.
        """
        for end in self._ends:
            expected[:-1] += rows.dot(end.vector, vector) * end.parts
            _, _, length = self._basis.orthogonalise(end.vector, out=end.vector)
            end.parts = torch.cat([end.parts * length, end.parts.new_zeros(1)])
            end.vector.div_(length or 1.0)
        self._ends = [end for end in self._ends if float(end.parts.norm()) > self._rounding]

    @property
    def _rounding(self) -> float:
        """What images outside the space is no more than rounding of them."""
        return 100 * torch.finfo(self.operator.dtype).eps * self.scale

    def shares(self, wanted: Tensor, tolerance: float) -> Float[Tensor, "ends wanted"]:
        """What each end adds to the residuals of Ritz pairs, at most, over what it may: true ones hold rounding too."""
        bound = (1 - _MARGIN) * self.bound(self.theta[wanted], tolerance) - _ROUNDING * self._floor
        return (self._parts() @ self.s[:, wanted]).abs() / bound

    def bound(self, values: Float[Tensor, "k"], tolerance: float) -> Float[Tensor, "k"]:
        """What the residual of a converged pair may be."""
        return torch.clamp(tolerance * values.abs(), min=self._floor)

    @property
    def _floor(self) -> float:
        """A residual that is rounding."""
        return max(_FLOOR[self.operator.dtype] * self.scale, torch.finfo(torch.float64).tiny)

    def shrink(self, kept: Tensor) -> None:
        """Keep these Ritz vectors only; what their images have outside stays known."""
        s = self.s[:, kept]
        self._basis.rotate(s.to(self.operator.device))
        self.theta, self.s = self.theta[kept], torch.eye(len(kept), dtype=torch.float64)
        self._projected = torch.diag(self.theta)
        for end in self._ends:
            end.parts = end.parts @ s

    def pairs(self, which: slice) -> tuple[Tensor, Tensor, Tensor]:
        """Values, vectors and images of Ritz pairs."""
        theta, s = self.theta[which].clone(), self.s[:, which]
        vectors = self._basis.combine(s.to(self.operator.device))
        images = vectors * theta.to(vectors)
        for end, parts in zip(self._ends, self._parts() @ s, strict=True):
            images.addr_(end.vector, parts.to(vectors))
        return theta.to(vectors.device), vectors, images

    def release(self) -> None:
        """Let go of all vectors."""
        self._basis.clear()
        self._ends.clear()

    def _parts(self) -> Float[Tensor, "ends basis"]:
        """Of all ends."""
        if not self._ends:
            return torch.zeros(0, len(self), dtype=torch.float64)
        return torch.stack([end.parts for end in self._ends])

    def _fresh(self) -> Vector:
        """A random unit vector orthogonal to the basis."""
        drawn = uniform(self.operator, self._generator)
        vector, _, length = self._basis.orthogonalise(drawn, out=drawn)
        return vector.div_(length)
