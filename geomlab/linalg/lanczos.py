"""Extreme eigenpairs by Lanczos with full reorthogonalisation (Golub & Van Loan 2013, 10.1-10.3)."""

import torch
from torch import Tensor

from geomlab.linalg.estimates import Eigenpairs
from geomlab.linalg.operator import Operator
from geomlab.typing import Float, Vector

_CHUNK = 1 << 18  # rows handled at a time where sums are taken in fp64
# Residuals below this times |λ₁| are rounding: no eigenvalue can be asked to converge beyond it.
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

    Args:
        operator: symmetric.
        k: number of eigenpairs, at most the dimension.
        generator: of the start vector (CPU).
        tolerance: largest relative residual ‖Av − λv‖/|λ| at which a pair counts as converged.
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
    basis = _Basis(operator)
    alphas: list[float] = []
    betas: list[float] = []
    vector, beta = _fresh(operator, basis, generator), 0.0
    limit = min(operator.dim, max(max_products, k))
    while True:
        basis.append(vector)
        product = operator.matvec(vector)
        alphas.append(basis.dot(vector, product))
        remainder = basis.orthogonalise(product)
        beta = basis.norm(remainder)
        theta, s = _tridiagonal(alphas, betas)
        scale = float(theta.abs().max())
        m = len(alphas)
        if m >= k and _converged(theta[:k], beta * s[-1, :k].abs(), scale, operator.dtype, tolerance):
            break
        if m >= limit:
            break
        if beta <= 100 * torch.finfo(operator.dtype).eps * scale:  # the space is invariant: go on elsewhere
            vector, beta = _fresh(operator, basis, generator), 0.0
        else:
            vector = remainder / beta
        betas.append(beta)
    largest = _verify(operator, basis.combine(s[:, :k]), m, scale, tolerance)
    smallest = _verify(operator, basis.combine(s[:, -1:]), 0, scale, tolerance)
    return largest, smallest


class _Basis:
    """Orthonormal columns, in the operator's precision, with sums in fp64."""

    def __init__(self, operator: Operator) -> None:
        self._columns = torch.empty(0, operator.dim, dtype=operator.dtype, device=operator.device)
        self.size = 0

    def append(self, vector: Vector) -> None:
        """Add a column; room grows by doubling."""
        if self.size == len(self._columns):
            room = torch.empty(
                max(16, 2 * self.size), len(vector), dtype=self._columns.dtype, device=self._columns.device
            )
            room[: self.size] = self._columns[: self.size]
            self._columns = room
        self._columns[self.size] = vector
        self.size += 1

    def orthogonalise(self, vector: Vector) -> Vector:
        """Remove the components along all columns, twice ("twice is enough", Parlett 1998, 6.9)."""
        for _ in range(2):
            vector = vector - self.combine(self._project(vector))
        return vector

    def combine(self, coefficients: Tensor) -> Tensor:
        """Columns times coefficients (size,) or (size, k)."""
        return self._columns[: self.size].T @ coefficients.to(self._columns)

    def _project(self, vector: Vector) -> Float[Tensor, "size"]:
        total = torch.zeros(self.size, dtype=torch.float64, device=vector.device)
        for at in range(0, len(vector), _CHUNK):
            total += self._columns[: self.size, at : at + _CHUNK].double() @ vector[at : at + _CHUNK].double()
        return total

    @staticmethod
    def dot(a: Vector, b: Vector) -> float:
        """Inner product in fp64."""
        pairs = zip(a.split(_CHUNK), b.split(_CHUNK), strict=True)
        return float(sum(torch.dot(x.double(), y.double()) for x, y in pairs))

    @classmethod
    def norm(cls, a: Vector) -> float:
        """Euclidean norm in fp64."""
        return float(cls.dot(a, a) ** 0.5)


def _fresh(operator: Operator, basis: _Basis, generator: torch.Generator) -> Vector:
    """A random unit vector orthogonal to the basis."""
    vector = torch.randn(operator.dim, generator=generator, dtype=torch.float64)
    vector = basis.orthogonalise(vector.to(operator.device, operator.dtype))
    return vector / basis.norm(vector)


def _tridiagonal(alphas: list[float], betas: list[float]) -> tuple[Tensor, Tensor]:
    """Eigenvalues, descending, and eigenvectors (columns) of the symmetric tridiagonal T, in fp64."""
    t = torch.diag(torch.tensor(alphas, dtype=torch.float64))
    off = torch.tensor(betas, dtype=torch.float64)
    t = t + torch.diag(off, 1) + torch.diag(off, -1)
    theta, s = torch.linalg.eigh(t)
    return theta.flip(0), s.flip(1)


def _converged(values: Tensor, residuals: Tensor, scale: float, dtype: torch.dtype, tolerance: float) -> bool:
    return bool((residuals <= _bound(values, scale, dtype, tolerance)).all())


def _bound(values: Tensor, scale: float, dtype: torch.dtype, tolerance: float) -> Tensor:
    return torch.clamp(tolerance * values.abs(), min=_FLOOR[dtype] * scale)


def _verify(operator: Operator, vectors: Tensor, spent: int, scale: float, tolerance: float) -> Eigenpairs:
    """Rayleigh-Ritz on the vectors with their true products: the residuals owe nothing to the recurrence."""
    vectors, _ = torch.linalg.qr(vectors)
    images = operator.matmat(vectors)
    small = vectors.double().T @ images.double()
    theta, s = torch.linalg.eigh((small + small.T) / 2)
    theta, s = theta.flip(0), s.flip(1).to(vectors)
    vectors, images = vectors @ s, images @ s
    residuals = (images.double() - vectors.double() * theta).norm(dim=0)
    # The recurrence stopped at `tolerance`; rounding in the product may leave the true residual a little above.
    late = residuals > 2 * _bound(theta, scale, operator.dtype, tolerance)
    status = "converged" if not bool(late.any()) else f"not converged: {int(late.sum())} of {len(theta)}"
    return Eigenpairs(theta.cpu(), vectors, images, residuals.cpu(), status, spent + len(theta))
