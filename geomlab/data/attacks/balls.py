"""The sets that attacks stay in: an ℓ∞ or ℓ2 ball around each image, cut with [0, 1]."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from geomlab.typing import Float, Images

Norm = Literal["linf", "l2"]
NORMS: tuple[Norm, ...] = ("linf", "l2")


@dataclass(frozen=True)
class Ball:
    """All images within a radius of a centre, with values in [0, 1].

    Attributes:
        eps: radius in pixel units of [0, 1]; in ℓ2 over all values of an image.
        norm: `linf` or `l2`.
    """

    eps: float
    norm: Norm = "linf"

    def project(self, x: Images, centre: Images) -> Images:
        """Bring images back, in ℓ∞ to the nearest point of the set.

        In ℓ2 along the radius and then to [0, 1] (Croce & Hein 2020), which is inside, as [0, 1] holds the centre, but
        not always the nearest point.

        Args:
            x: (n, C, H, W).
            centre: the same, in [0, 1].
        """
        if self.norm == "linf":
            low, high = (centre - self.eps).clamp(min=0), (centre + self.eps).clamp(max=1)
            return torch.minimum(torch.maximum(x, low), high)
        away = x - centre
        length = lengths(away)
        return (centre + away * (self.eps / length.clamp(min=self.eps)).nan_to_num(0.0)).clamp(0, 1)

    def direction(self, gradient: Images) -> Images:
        """Steepest ascent of unit length in the norm: the signs, or the gradient over its length; 0 where that is 0."""
        if self.norm == "linf":
            return gradient.sign()
        return gradient / lengths(gradient).clamp(min=torch.finfo(gradient.dtype).tiny)

    def start(self, centre: Images, noise: Images) -> Images:
        """A random point, not yet cut with [0, 1].

        In ℓ∞ uniform in the ball; in ℓ2 uniform on the sphere (Croce & Hein 2020), where nearly all of the volume is.

        Args:
            centre: (n, C, H, W).
            noise: the same, uniform numbers in [−1, 1].
        """
        if self.norm == "linf":
            return centre + self.eps * noise
        normal = torch.erfinv(noise.float().clamp(-1 + 1e-6, 1 - 1e-6)).to(noise.dtype)  # finite at the ends
        return centre + self.eps * self.direction(normal)


def lengths(x: Images) -> Float[Tensor, "n 1 1 1"]:
    """Euclidean length of each image."""
    found: Tensor = torch.linalg.vector_norm(x, dim=(1, 2, 3), keepdim=True)
    return found
