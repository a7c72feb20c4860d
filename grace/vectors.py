"""What norms need where they may be zero."""

from torch import Tensor


def nonzero(length: Tensor) -> Tensor:
    """A length to divide by, at least 1e-30: only keeps 0/0 from being NaN; float32 has numbers down to 1e-38."""
    return length.clamp(min=1e-30)
