"""What a matrix-free symmetric operator is."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from geomlab.typing import Float, Vector


class Operator(ABC):
    """A real symmetric matrix known only by its products.

    Attributes:
        dim: number of rows and columns.
        dtype: of the vectors it takes and gives.
        device: of those vectors.
    """

    dim: int
    dtype: torch.dtype
    device: torch.device

    @property
    def shape(self) -> tuple[int, int]:
        """(dim, dim)."""
        return self.dim, self.dim

    @abstractmethod
    def matvec(self, vector: Vector) -> Vector:
        """The product with a vector (dim,); both are the caller's to overwrite: neither is to be kept."""

    def matmat(self, vectors: Float[Tensor, "dim k"]) -> Float[Tensor, "dim k"]:
        """The products with the columns of (dim, k)."""
        images = torch.empty_like(vectors)
        for number, column in enumerate(vectors.unbind(1)):
            images[:, number] = self.matvec(column)
        return images


class Dense(Operator):
    """An explicit symmetric matrix, for checks and small problems.

    Raises:
        ValueError: if the matrix is not square and symmetric.
    """

    def __init__(self, matrix: Float[Tensor, "dim dim"]) -> None:
        if matrix.ndim != 2 or not torch.allclose(matrix, matrix.T):
            raise ValueError(f"expected a symmetric matrix, got shape {tuple(matrix.shape)}")
        self.matrix = matrix
        self.dim, self.dtype, self.device = len(matrix), matrix.dtype, matrix.device

    def matvec(self, vector: Vector) -> Vector:
        """Matrix times vector."""
        return self.matrix @ vector
