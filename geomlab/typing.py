"""Shape-annotated tensor names shared by the computing code (checked in the tests by beartype)."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

Images = Float[Tensor, "n channels height width"]
Labels = Int[Tensor, "n"]
Logits = Float[Tensor, "n classes"]
Features = Float[Tensor, "n dim"]
Scalar = Float[Tensor, ""]
Vector = Float[Tensor, "dim"]
Params = Mapping[str, Tensor]
Texts = Shaped[np.ndarray, "n"]  # beartype takes NDArray[np.str_] for texts of no characters

__all__ = [
    "Bool",
    "Features",
    "Float",
    "Images",
    "Int",
    "Labels",
    "Logits",
    "Params",
    "Scalar",
    "Texts",
    "Vector",
]
