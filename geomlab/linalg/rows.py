"""Products of tall matrices, some rows at a time: summed in fp64 without an fp64 copy of a whole matrix.

On a CPU the rows of matrices in single precision are summed in it, in runs that are short enough: in two fifths to two
thirds of the time of turning each entry into fp64 (benchmarks/sums.py). Of 10⁷ random ones it is off by 10⁻⁹ of the
product of the norms, and of a column with itself by 3·10⁻⁸, half of what an entry is rounded by; equal entries round
alike, to 10⁻⁶ (tests/linalg/test_rows.py). What is too small or too large for its squares to be in single precision is
turned into fp64, as on other devices.
"""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from geomlab.typing import Float, Vector

ROWS = 1 << 18  # at a time: ours, of 2^16 to 2^20 the fastest on a CPU
# There: ours, so that the time is not that of starting kernels (benchmarks/curvature.py, tries).
ROWS_OF_GPU = 1 << 22
SMALL = 1e-25  # sums below may have lost what was added: squares under 1e-38 are rounded off
RUN = 1 << 9  # rows of single precision that are summed in it: ours, of 2^9 to 2^13 none is faster


def at_a_time(device: torch.device) -> int:
    """How many rows."""
    return ROWS if device.type == "cpu" else ROWS_OF_GPU


def inner(a: Float[Tensor, "dim k"], b: Float[Tensor, "dim m"]) -> Float[Tensor, "k m"]:
    """aᵀb, in fp64; the sums as above."""
    if _is_short(a):
        total = _summed(a, b, _in_runs)
        if bool((total.isfinite() & (total.abs() >= SMALL)).all()):
            return total
    return _summed(a, b, lambda x, y: x.double().T @ y.double())


def dot(a: Vector, b: Vector) -> float:
    """⟨a, b⟩, in fp64; the sums as above."""
    if _is_short(a):
        return float(inner(a[:, None], b[:, None]))
    parts = [torch.dot(x.double(), y.double()) for x, y in _pieces(a, b)]
    return float(torch.stack(parts).sum()) if parts else 0.0


def norm(a: Vector) -> float:
    """‖a‖, as `dot`."""
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


def _is_short(a: Tensor) -> bool:
    return a.dtype == torch.float32 and a.device.type == "cpu"


def _summed(a: Tensor, b: Tensor, product: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    total = torch.zeros(a.shape[1], b.shape[1], dtype=torch.float64, device=a.device)
    for x, y in _pieces(a, b):
        total += product(x, y)
    return total


def _in_runs(x: Tensor, y: Tensor) -> Tensor:
    """xᵀy of some rows."""
    whole = len(x) // RUN * RUN
    rest: Tensor = x[whole:].double().T @ y[whole:].double()
    # In this form of the same product BLAS takes a column of y as a vector, in a quarter of the time.
    left, right = (one[:whole].T.unflatten(1, (-1, RUN)).transpose(0, 1) for one in (x, y))
    return torch.matmul(left, right.transpose(1, 2)).sum(0, dtype=torch.float64) + rest
