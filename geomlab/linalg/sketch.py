"""Short stand-ins of long vectors that keep their inner products: the CountSketch (Charikar et al. 2002)."""

import torch
from torch import Tensor

from geomlab.rng import generator
from geomlab.typing import Float

PART = 1 << 16  # entries at a time; others would be other sketches
LENGTH = 1 << 15  # ours: inner products of unit vectors to 1/√LENGTH = 0.0055, in 1.3 MB for ten of them


def sketch(vectors: Float[Tensor, "dim k"], length: int = LENGTH) -> Float[Tensor, "length k"]:
    """Every entry is added, with a random sign, to one of `length` places: the same ones for all of a dimension.

    ⟨Su, Sv⟩ is unbiased for ⟨u, v⟩, with a variance of at most (‖u‖²‖v‖² + ⟨u, v⟩²)/length.

    Args:
        vectors: (dim, k) as columns.
        length: of the results; vectors that are no longer are returned as they are.
    """
    dim, k = vectors.shape
    if dim <= length:
        return vectors
    rng = generator(0, "sketch", dim, length)  # not the study's seed: what is compared was sketched alike
    total = torch.zeros(length, k, dtype=torch.float64, device=vectors.device)
    for part in vectors.split(PART):
        place = torch.randint(0, length, (len(part),), generator=rng).to(part.device)
        sign = (torch.randint(0, 2, (len(part), 1), generator=rng) * 2 - 1).to(part.device)
        total.index_add_(0, place, part.double() * sign)
    return total.to(vectors.dtype)
