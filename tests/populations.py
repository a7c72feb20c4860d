"""Populations whose geometry is known: Gaussian classes, and samples of them."""

from dataclasses import dataclass

import torch
from torch import Tensor

from geomlab.rng import generator


@dataclass(frozen=True, eq=False)
class Classes:
    """Gaussian classes, alike in number.

    Attributes:
        means: (C, d).
        factors: (C, d, d), Σ_c = F_c F_cᵀ.
    """

    means: Tensor
    factors: Tensor

    @property
    def covariances(self) -> Tensor:
        return self.factors @ self.factors.mT

    @property
    def number(self) -> int:
        return len(self.means)

    def noise(self, n: int, *names: object) -> Tensor:
        return torch.randn(n, self.means.shape[1], generator=generator(0, *names), dtype=torch.float64)

    def labels(self, n: int) -> Tensor:
        return torch.arange(n) % self.number

    def draw(self, noise: Tensor) -> Tensor:
        """(n, d) samples of classes in turn from (n, d) standard normal noise."""
        labels = self.labels(len(noise))
        return self.means[labels] + torch.einsum("nij,nj->ni", self.factors[labels], noise)


def gaussian_classes(number: int = 4, d: int = 6, spread: float = 0.5) -> Classes:
    """Away from the origin, each with a covariance of its own."""
    means = 1 + torch.randn(number, d, generator=generator(0, "means"), dtype=torch.float64)
    factors = torch.randn(number, d, d, generator=generator(0, "factors"), dtype=torch.float64)
    return Classes(means, spread * factors)


def rotation(d: int, seed: int = 0) -> Tensor:
    """(d, d) orthogonal."""
    q, _ = torch.linalg.qr(torch.randn(d, d, generator=generator(seed, "q"), dtype=torch.float64))
    return q


def simplex(number: int, d: int, scale: float = 1.0) -> Tensor:
    """(C, d) a turned simplex equiangular tight frame."""
    corners = torch.eye(number, dtype=torch.float64) - 1 / number
    return scale * torch.nn.functional.pad(corners, (0, d - number)) @ rotation(d)
