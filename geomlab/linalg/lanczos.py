"""Extreme eigenpairs by Lanczos with full reorthogonalisation (Golub & Van Loan 2013, 10.1-10.3)."""

from collections.abc import Iterator

import torch
from torch import Tensor

from geomlab.linalg import rows
from geomlab.linalg.estimates import Eigenpairs
from geomlab.linalg.operator import Operator
from geomlab.typing import Float, Vector

_BLOCK = 8  # basis vectors allocated at a time: ours, so that 40 or 200 products leave no room unused
# Residuals below this times the largest |λ| are rounding: no eigenvalue can be asked to converge beyond it.
_FLOOR = {torch.float32: 1e-6, torch.float64: 1e-13}


def eigenpairs(
    operator: Operator,
    k: int,
    generator: torch.Generator,
    *,
    tolerance: float = 1e-3,
    max_products: int = 200,
) -> tuple[Eigenpairs, Eigenpairs]:
    """The k algebraically largest eigenpairs, and the smallest one the same Krylov space holds.

    A Krylov space of one start vector holds one vector of a multiple eigenvalue: repeated eigenvalues come out once,
    unless the space is exhausted and the iteration goes on from a fresh vector.

    Memory: the basis is one vector a product, in the operator's precision, and stays until the k + 1 vectors are formed
    from it: at the peak (products + k + 1)·dim numbers and a few vectors. Afterwards vectors and images, 2(k + 1)·dim,
    are left. Sums are in fp64, of some rows at a time.

    Args:
        operator: symmetric.
        k: number of eigenpairs, at most the dimension.
        generator: of the start vector (CPU).
        tolerance: a pair has converged if its recomputed residual ‖Av − λv‖ is at most tolerance·|λ|, or is rounding:
            at most 1e-6 (fp64: 1e-13) of the largest |λ| found.
        max_products: stop after so many matrix-vector products; those that verify come on top.

    Returns:
        The k largest, descending, with recomputed residuals and a status; and the smallest (k = 1), whose status
        is judged alike though the iteration does not wait for it.

    Raises:
        ValueError: if k < 1.
    """
    if k < 1:
        raise ValueError(f"expected k >= 1 eigenpairs, got {k}")
    k = min(k, operator.dim)
    limit = min(operator.dim, max(max_products, k))
    top, bottom, scale, spent = _iterate(operator, k, generator, tolerance, limit)
    return _verify(operator, top, spent, scale, tolerance), _verify(operator, bottom, 0, scale, tolerance)


def _iterate(
    operator: Operator, k: int, generator: torch.Generator, tolerance: float, limit: int
) -> tuple[Tensor, Tensor, float, int]:
    """Approximate eigenvectors (dim, k) and (dim, 1), the largest |λ|, and the products spent."""
    basis = _Basis(operator)
    alphas: list[float] = []
    betas: list[float] = []
    vector, beta = _fresh(operator, basis, generator), 0.0
    while True:
        basis.append(vector)
        product = operator.matvec(vector)
        alphas.append(rows.dot(vector, product))
        remainder = basis.orthogonalise(product)
        beta = rows.norm(remainder)
        theta, s = _tridiagonal(alphas, betas)
        scale = float(theta.abs().max())
        m = len(alphas)
        # The recurrence's residuals differ from the true ones by rounding: at half the bound those keep to it.
        bound = _bound(theta[:k], scale, operator.dtype, tolerance) / 2
        if m == limit or (m >= k and bool((beta * s[-1, :k].abs() <= bound).all())):
            return basis.combine(s[:, :k]), basis.combine(s[:, -1:]), scale, m
        if beta <= 100 * torch.finfo(operator.dtype).eps * scale:  # the space is invariant: go on elsewhere
            vector, beta = _fresh(operator, basis, generator), 0.0
        else:
            vector = remainder / beta
        betas.append(beta)


class _Basis:
    """Orthonormal vectors in the operator's precision, in blocks of rows, so that growing copies none of them."""

    def __init__(self, operator: Operator) -> None:
        self._operator = operator
        self._blocks: list[Tensor] = []
        self._size = 0

    def append(self, vector: Vector) -> None:
        """Add a vector."""
        if self._size == _BLOCK * len(self._blocks):
            self._blocks.append(vector.new_empty(_BLOCK, len(vector)))
        self._blocks[-1][self._size % _BLOCK] = vector
        self._size += 1

    def orthogonalise(self, vector: Vector) -> Vector:
        """Remove the components along all of them, twice ("twice is enough", Parlett 1998, 6.9)."""
        for _ in range(2):
            along = [rows.inner(block.T, vector[:, None]) for block in self._filled()]
            if along:
                vector = vector - self.combine(torch.cat(along))[:, 0]
        return vector

    def combine(self, coefficients: Float[Tensor, "size k"]) -> Float[Tensor, "dim k"]:
        """Their linear combinations."""
        operator = self._operator
        total = torch.zeros(operator.dim, coefficients.shape[1], dtype=operator.dtype, device=operator.device)
        for block, part in zip(self._filled(), coefficients.to(total).split(_BLOCK), strict=True):
            total.addmm_(block.T, part)
        return total

    def _filled(self) -> Iterator[Tensor]:
        for number, block in enumerate(self._blocks):
            yield block[: self._size - _BLOCK * number]


def _fresh(operator: Operator, basis: _Basis, generator: torch.Generator) -> Vector:
    """A random unit vector orthogonal to the basis."""
    vector = torch.randn(operator.dim, generator=generator, dtype=torch.float64)
    vector = basis.orthogonalise(vector.to(operator.device, operator.dtype))
    return vector / rows.norm(vector)


def _tridiagonal(alphas: list[float], betas: list[float]) -> tuple[Tensor, Tensor]:
    """Eigenvalues, descending, and eigenvectors (columns) of the symmetric tridiagonal T, in fp64."""
    t = torch.diag(torch.tensor(alphas, dtype=torch.float64))
    off = torch.tensor(betas, dtype=torch.float64)
    t = t + torch.diag(off, 1) + torch.diag(off, -1)
    theta, s = torch.linalg.eigh(t)
    return theta.flip(0), s.flip(1)


def _bound(values: Tensor, scale: float, dtype: torch.dtype, tolerance: float) -> Tensor:
    return torch.clamp(tolerance * values.abs(), min=_FLOOR[dtype] * scale)


def _verify(operator: Operator, vectors: Tensor, spent: int, scale: float, tolerance: float) -> Eigenpairs:
    """Rayleigh-Ritz on the vectors with their true products: the residuals owe nothing to the recurrence.

    The vectors are changed in place: they are orthonormalised with VᵀV = LLᵀ, V ← VL⁻ᵀ, then rotated.
    """
    factor = torch.linalg.cholesky(rows.inner(vectors, vectors))
    rows.rotate(vectors, torch.linalg.inv(factor).T)
    images = operator.matmat(vectors)
    small = rows.inner(vectors, images)
    theta, s = torch.linalg.eigh((small + small.T) / 2)
    theta, s = theta.flip(0), s.flip(1)
    rows.rotate(vectors, s)
    rows.rotate(images, s)
    residuals = rows.residual_norms(images, vectors, theta)
    theta, residuals = theta.cpu(), residuals.cpu()
    good = residuals <= _bound(theta, scale, operator.dtype, tolerance)
    status = "converged" if bool(good.all()) else f"not converged: {int((~good).sum())} of {len(theta)}"
    return Eigenpairs(theta, vectors, images, residuals, good, status, spent + len(theta))
