"""Products of tall matrices, some rows at a time: sums are taken in fp64 without an fp64 copy of a whole matrix."""

import math

import torch
from torch import Tensor

from geomlab.typing import Float, Vector

ROWS = 1 << 16  # at a time: ours, of 2^12 to 2^20 the fastest on a CPU, where it stays in the cache
# There: ours, so that the time is not that of starting kernels (benchmarks/curvature.py, tries).
ROWS_OF_GPU = 1 << 22


def at_a_time(device: torch.device) -> int:
    """How many rows."""
    return ROWS if device.type == "cpu" else ROWS_OF_GPU


def inner(a: Float[Tensor, "dim k"], b: Float[Tensor, "dim m"]) -> Float[Tensor, "k m"]:
    """aᵀb, in fp64."""
    total = torch.zeros(a.shape[1], b.shape[1], dtype=torch.float64, device=a.device)
    size = at_a_time(a.device)
    for x, y in zip(a.split(size), b.split(size), strict=True):
        total += x.double().T @ y.double()
    return total


def dot(a: Vector, b: Vector) -> float:
    """⟨a, b⟩, summed in fp64."""
    size = at_a_time(a.device)
    parts = [torch.dot(x.double(), y.double()) for x, y in zip(a.split(size), b.split(size), strict=True)]
    return float(torch.stack(parts).sum()) if parts else 0.0


def norm(a: Vector) -> float:
    """‖a‖, summed in fp64."""
    return math.sqrt(dot(a, a))


def residual_norms(
    images: Float[Tensor, "dim k"], vectors: Float[Tensor, "dim k"], values: Float[Tensor, "k"]
) -> Float[Tensor, "k"]:
    """‖image − value·vector‖ of each column, in fp64."""
    total = torch.zeros_like(values)
    size = at_a_time(vectors.device)
    for x, y in zip(vectors.split(size), images.split(size), strict=True):
        total += (y.double() - x.double() * values).square().sum(0)
    return total.sqrt()
