"""Orthonormal vectors that grow one by one: what a Krylov method keeps."""

from collections.abc import Iterator

import torch
from torch import Tensor

from geomlab.linalg import rows
from geomlab.typing import Float, Vector

BLOCK = 8  # vectors allocated at a time: ours, so that 40 or 200 of them leave no room unused
COLUMNS, COLUMNS_OF_GPU = 1 << 14, 1 << 20  # at a time: ours, on a CPU the fastest of 2^11 to 2^16
PASSES = 3  # at most, to orthogonalise: rounding alone is left after two


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

    def append(self, vector: Vector) -> Vector:
        """Add a vector; it is copied, and the copy returned."""
        if self._size == BLOCK * len(self._blocks):
            self._blocks.append(self._like.new_empty(BLOCK, len(self._like)))
        row = self._blocks[-1][self._size % BLOCK]
        row.copy_(vector)
        self._size += 1
        return row

    def clear(self) -> None:
        """Let go of all."""
        self._blocks, self._size = [], 0

    def along(self, vector: Vector) -> Float[Tensor, "size"]:
        """Inner products with each of them, as `rows.inner`: summed in single precision, a restarted basis drifts."""
        found = [rows.inner(block.T, vector[:, None])[:, 0] for block in self._filled()]
        return torch.cat(found) if found else torch.zeros(0, dtype=torch.float64, device=vector.device)

    def orthogonalise(
        self,
        vector: Vector,
        expected: Float[Tensor, "size"] | None = None,
        *,
        out: Vector | None = None,
    ) -> tuple[Vector, Float[Tensor, "size"], float]:
        """A copy of a vector without its components along them, which are orthonormal; the components; what is left.

        They are removed until that takes away less than it leaves ("twice is enough", Parlett 1998, 6.9): one pass over
        all of them where `expected` was right.

        Args:
            vector: (dim,).
            expected: what the components are thought to be, removed first; all zero by default.
            out: where the copy goes, the vector itself too; new memory by default, which takes longer than a pass.

        Returns:
            The remainder (dim,), the components (size,) in fp64, and the remainder's length.
        """
        vector = vector.clone() if out is None else out.copy_(vector)
        along = torch.zeros(self._size, dtype=torch.float64, device=vector.device)
        if expected is not None:
            along += expected.to(along)
            self._subtract(along, vector)
        for _ in range(PASSES):
            found = self.along(vector)
            self._subtract(found, vector)
            along += found
            length = rows.norm(vector)
            if float(found.norm()) <= length:
                break
        return vector, along, length

    def combine(self, coefficients: Float[Tensor, "size k"]) -> Float[Tensor, "dim k"]:
        """Their linear combinations, each entry summed in fp64; in memory each is in one piece."""
        combined = self._like.new_empty(coefficients.shape[1], len(self._like))
        for columns in self._columns():
            combined[:, columns] = self._combined(coefficients, columns)
        return combined.T

    def rotate(self, coefficients: Float[Tensor, "size k"]) -> None:
        """Put k ≤ size linear combinations, each entry summed in fp64, in their place."""
        for columns in self._columns():
            for number, row in enumerate(self._combined(coefficients, columns)):
                self._blocks[number // BLOCK][number % BLOCK, columns] = row.to(self._like)
        self._size = coefficients.shape[1]
        del self._blocks[-(-self._size // BLOCK) :]

    def _combined(self, coefficients: Float[Tensor, "size k"], columns: slice) -> Float[Tensor, "k columns"]:
        """Some entries of linear combinations, in fp64."""
        total = torch.zeros(1, dtype=torch.float64, device=self._like.device)
        for number, block in enumerate(self._filled()):
            some = coefficients[BLOCK * number : BLOCK * number + len(block)]
            total = torch.addmm(total, some.T, block[:, columns].double())
        return total

    def _subtract(self, coefficients: Float[Tensor, "size"], vector: Vector) -> None:
        """Take one linear combination from a vector, in place, in their own precision."""
        coefficients = coefficients.to(vector)
        for number, block in enumerate(self._filled()):
            some = coefficients[BLOCK * number : BLOCK * number + len(block)]
            if some.any():
                vector.addmv_(block.T, some, alpha=-1)

    def _columns(self) -> Iterator[slice]:
        """Some at a time, of blocks that are turned into fp64."""
        width = COLUMNS if self._like.device.type == "cpu" else COLUMNS_OF_GPU
        for start in range(0, len(self._like), width):
            yield slice(start, start + width)

    def _filled(self) -> Iterator[Tensor]:
        for number, block in enumerate(self._blocks):
            yield block[: self._size - BLOCK * number]
