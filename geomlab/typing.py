"""Shape-annotated tensor names shared by the computing code (checked in the tests by beartype)."""

from collections.abc import Mapping

from jaxtyping import Bool, Float, Int
from torch import Tensor

Images = Float[Tensor, "n channels height width"]
Labels = Int[Tensor, "n"]
Logits = Float[Tensor, "n classes"]
Features = Float[Tensor, "n dim"]
Scalar = Float[Tensor, ""]
Vector = Float[Tensor, "dim"]
Params = Mapping[str, Tensor]

__all__ = ["Bool", "Features", "Float", "Images", "Int", "Labels", "Logits", "Params", "Scalar", "Vector"]
