"""Products of tall matrices, some rows at a time: sums are taken in fp64 without an fp64 copy of a whole matrix.

On a CPU the rows of matrices in single precision are summed in it, in runs that are short enough: a third of the time
of turning every entry into fp64. Of 10⁷ entries that is off by 10⁻⁹ of the product of the norms, and of a column with
itself by 3·10⁻⁸, half of what an entry is rounded by (tests/linalg/test_rows.py).
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from geomlab.typing import Float, Vector

ROWS = 1 << 18  # at a time: ours, of 2^16 to 2^20 the fastest on a CPU
# There: ours, so that the time is not that of starting kernels (benchmarks/curvature.py, tries).
ROWS_OF_GPU = 1 << 22
RUN = 1 << 9  # rows of single precision that are summed in it: ours, of 2^9 to 2^13 none is faster


def at_a_time(device: torch.device) -> int:
    """How many rows."""
    return ROWS if device.type == "cpu" else ROWS_OF_GPU


def inner(a: Float[Tensor, "dim k"], b: Float[Tensor, "dim m"]) -> Float[Tensor, "k m"]:
    """aᵀb, in fp64."""
    total = torch.zeros(a.shape[1], b.shape[1], dtype=torch.float64, device=a.device)
    for x, y in _pieces(a, b):
        total += _product(x, y)
    return total


def dot(a: Vector, b: Vector) -> float:
    """⟨a, b⟩, summed in fp64."""
    return float(inner(a[:, None], b[:, None]))


def norm(a: Vector) -> float:
    """‖a‖, summed in fp64."""
    return math.sqrt(dot(a, a))


def residual_norms(
    images: Float[Tensor, "dim k"], vectors: Float[Tensor, "dim k"], values: Float[Tensor, "k"]
) -> Float[Tensor, "k"]:
    """‖image − value·vector‖ of each column, in fp64."""
    total = torch.zeros_like(values)
    for x, y in _pieces(vectors, images):
        total += (y.double() - x.double() * values).square().sum(0)
    return total.sqrt()


def _pieces(a: Tensor, b: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    size = at_a_time(a.device)
    return zip(a.split(size), b.split(size), strict=True)


def _product(x: Tensor, y: Tensor) -> Tensor:
    """xᵀy of some rows, in fp64."""
    whole = len(x) // RUN * RUN if x.dtype == torch.float32 and x.device.type == "cpu" else 0
    rest: Tensor = x[whole:].double().T @ y[whole:].double()
    if not whole:
        return rest
    # In this form of the same product BLAS takes a column of y as a vector, in a quarter of the time.
    left, right = (one[:whole].T.unflatten(1, (-1, RUN)).transpose(0, 1) for one in (x, y))
    return torch.matmul(left, right.transpose(1, 2)).sum(0, dtype=torch.float64) + rest
