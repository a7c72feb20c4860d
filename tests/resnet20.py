"""ResNet-20 for CIFAR-10, written from its paper (He et al. 2016, section 4.2), and the images it was trained on.

Shortcuts are parameter-free (option A): subsampled, and padded with zero channels.
"""

import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Block(nn.Module):
    """Two 3×3 convolutions and a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.stride, self.pad = stride, (outputs - inputs) // 2

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        shortcut = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.pad, self.pad))
        return F.relu(y + shortcut)


class ResNet20(nn.Module):
    """Images in [0, 1] to 10 logits; normalisation inside."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        widths = ((16, 16, 1), (16, 32, 2), (32, 64, 2))
        for number, (inputs, outputs, stride) in enumerate(widths, 1):
            blocks = [Block(inputs, outputs, stride), *(Block(outputs, outputs, 1) for _ in range(2))]
            setattr(self, f"layer{number}", nn.Sequential(*blocks))
        self.linear = nn.Linear(64, 10)
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1((images - self.mean) / self.std)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(x.mean((2, 3)))


def build() -> nn.Module:
    """The `--model` factory."""
    return ResNet20()


def shared() -> Path | None:
    """The folder of real data, if it is here: $GEOMLAB_SHARED or ../shared beside the repository."""
    candidates = [os.environ.get("GEOMLAB_SHARED"), Path(__file__).parents[2] / "shared"]
    return next((Path(c) for c in candidates if c and (Path(c) / "data").is_dir()), None)


def cifar() -> tuple[Tensor, np.ndarray]:
    """The `--data` factory: 4,000 training images."""
    folder = shared()
    assert folder is not None
    content = np.load(folder / "data" / "cifar10_4000.npz")
    return torch.from_numpy(content["x"]).permute(0, 3, 1, 2).float() / 255, content["y"].astype(np.int64)
