"""Models and data that a user might name by MODULE:FACTORY, good and bad."""

import numpy as np
import torch
from torch import nn

SIDE = 4
N = 24


def model() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 6), nn.Tanh(), nn.Linear(6, 3))


def with_relu() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 6), nn.ReLU(), nn.Linear(6, 3))


class Hungry(nn.Module):
    """Takes 16 MiB for a moment for each image."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3 * SIDE * SIDE, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        flat = images.flatten(1)
        return self.head(flat) + flat.mean(1)[:, None, None].expand(-1, 1, 1 << 22).clone().mean(2)


def hungry() -> nn.Module:
    return Hungry()


def nothing() -> None:
    return None


def broken() -> nn.Module:
    raise RuntimeError("no weights here")


def _images() -> torch.Tensor:
    return torch.rand(N, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


def data() -> tuple[torch.Tensor, np.ndarray]:
    return _images(), np.arange(N) % 3


def shifted() -> dict[str, tuple[torch.Tensor, np.ndarray]]:
    images, labels = data()
    return {"clean": (images, labels), "dark": (images / 2, labels), "other": (images[:15], labels[:15])}


def outside() -> tuple[torch.Tensor, np.ndarray]:
    return _images(), np.arange(N) % 9


def unscaled() -> tuple[torch.Tensor, np.ndarray]:
    return _images() * 255, np.arange(N) % 3


def not_finite() -> tuple[torch.Tensor, np.ndarray]:
    images = _images()
    images[3, 0, 0, 0] = torch.nan
    return images, np.arange(N) % 3


def uneven() -> tuple[torch.Tensor, np.ndarray]:
    return _images(), np.arange(N - 1) % 3


def larger() -> tuple[torch.Tensor, np.ndarray]:
    return torch.rand(N, 3, 7, 7, generator=torch.Generator().manual_seed(0)), np.arange(N) % 3


def fractional() -> tuple[torch.Tensor, np.ndarray]:
    return _images(), np.linspace(0, 2, N)


def digits() -> tuple[torch.Tensor, np.ndarray]:
    """Thirty images that the embedded networks can take."""
    return torch.rand(30, 3, 16, 16, generator=torch.Generator().manual_seed(0)), np.arange(30) % 10
