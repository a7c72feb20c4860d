"""Random vectors: drawn on the CPU as 64-bit words, so that every device sees the same ones, and spread out there.

Of 87 million entries `torch.randn` takes 3.4 s in fp64 and 0.8 s in fp32 on a core, `torch.randint` of signs 0.5 s, and
their words 0.1 and 0.01 s: less than a product on a GPU takes.
"""

import torch
from torch import Tensor

from geomlab.linalg.operator import Operator
from geomlab.typing import Vector


def signs(operator: Operator, generator: torch.Generator) -> Vector:
    """Independent ±1 (dim,): Rademacher's.

    Args:
        operator: whose dimension, precision and device it has.
        generator: on the CPU.
    """
    places = torch.arange(8, dtype=torch.uint8, device=operator.device)
    bits = (_words(operator.dim, 1, generator).to(operator.device).view(torch.uint8)[:, None] >> places) & 1
    return bits.view(-1)[: operator.dim].to(operator.dtype) * 2 - 1


def uniform(operator: Operator, generator: torch.Generator) -> Vector:
    """Independent numbers (dim,) uniform in (−1, 1), in steps of 2⁻¹⁵.

    Args:
        operator: whose dimension, precision and device it has.
        generator: on the CPU.
    """
    steps = _words(operator.dim, 16, generator).to(operator.device).view(torch.int16)
    return (steps[: operator.dim].to(operator.dtype) + 0.5) / 2**15


def _words(count: int, bits: int, generator: torch.Generator) -> Tensor:
    """Random 64-bit words that hold as many pieces of so many bits."""
    low, high = torch.iinfo(torch.int64).min, torch.iinfo(torch.int64).max
    return torch.randint(low, high, (-(-count * bits // 64),), generator=generator)
