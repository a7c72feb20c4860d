"""Orthonormal vectors that grow one by one: what a Krylov method keeps."""

from collections.abc import Iterator

import torch
from torch import Tensor

from geomlab.linalg import rows
from geomlab.typing import Float, Vector

BLOCK = 8  # vectors allocated at a time: ours, so that 40 or 200 of them leave no room unused


class Basis:
    """Vectors of one length as rows of blocks, so that growing copies none of them.

    Args:
        like: a vector of their length, precision and device.
    """

    def __init__(self, like: Vector) -> None:
        self._like = like
        self._blocks: list[Tensor] = []
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def append(self, vector: Vector) -> None:
        """Add a vector; it is copied."""
        if self._size == BLOCK * len(self._blocks):
            self._blocks.append(self._like.new_empty(BLOCK, len(self._like)))
        self._blocks[-1][self._size % BLOCK] = vector
        self._size += 1

    def along(self, vector: Vector) -> Float[Tensor, "size"]:
        """Inner products with each of them, in fp64."""
        found = [rows.inner(block.T, vector[:, None])[:, 0] for block in self._filled()]
        return torch.cat(found) if found else torch.zeros(0, dtype=torch.float64, device=vector.device)

    def orthogonalise(self, vector: Vector) -> tuple[Vector, Float[Tensor, "size"]]:
        """A vector without its components along them, which are orthonormal; and those components, in fp64.

        They are removed twice ("twice is enough", Parlett 1998, 6.9): first by sums in the vectors' own precision, then
        by sums in fp64, which find what is left.
        """
        first = self._roughly_along(vector)
        vector = vector - self._times(first)
        second = self.along(vector)
        return vector - self._times(second), first.double() + second

    def combine(self, coefficients: Float[Tensor, "size k"]) -> Float[Tensor, "dim k"]:
        """Their linear combinations, each entry summed in fp64."""
        combined = self._like.new_empty(len(self._like), coefficients.shape[1])
        for columns in self._columns():
            combined[columns] = self._slab(columns).T @ coefficients
        return combined

    def rotate(self, coefficients: Float[Tensor, "size k"]) -> None:
        """Put k ≤ size linear combinations, each entry summed in fp64, in their place."""
        for columns in self._columns():
            for number, row in enumerate(coefficients.T @ self._slab(columns)):
                self._blocks[number // BLOCK][number % BLOCK, columns] = row.to(self._like)
        self._size = coefficients.shape[1]
        del self._blocks[-(-self._size // BLOCK) :]

    def _roughly_along(self, vector: Vector) -> Float[Tensor, "size"]:
        """Inner products with each of them, in their own precision."""
        return torch.cat([block @ vector for block in self._filled()] or [vector[:0]])

    def _times(self, coefficients: Float[Tensor, "size"]) -> Vector:
        """One linear combination, in their own precision."""
        total = torch.zeros_like(self._like)
        coefficients = coefficients.to(total)
        for number, block in enumerate(self._filled()):
            total.addmv_(block.T, coefficients[BLOCK * number : BLOCK * number + len(block)])
        return total

    def _slab(self, columns: slice) -> Float[Tensor, "size columns"]:
        """Some entries of all vectors, in fp64."""
        return torch.cat([block[:, columns].double() for block in self._filled()])

    def _columns(self) -> Iterator[slice]:
        entries = rows.at_a_time(self._like.device) * (1 if self._like.device.type == "cpu" else 8)
        width = max(1, entries // max(1, self._size))
        for start in range(0, len(self._like), width):
            yield slice(start, start + width)

    def _filled(self) -> Iterator[Tensor]:
        for number, block in enumerate(self._blocks):
            yield block[: self._size - BLOCK * number]
