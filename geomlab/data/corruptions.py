"""Corruptions of images: functions of (images, severity, generator)."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch

from geomlab.typing import Images

# Standard deviations of severities 1-5 for images in [0, 1]: ImageNet-C (Hendrycks & Dietterich 2019, their code).
_NOISE = (0.08, 0.12, 0.18, 0.26, 0.38)


def gaussian_noise(images: Images, severity: int, generator: torch.Generator) -> Images:
    """Additive Gaussian noise, clipped to [0, 1]; ImageNet-C's strengths, so independent of the image's size.

    Args:
        images: (n, C, H, W) in [0, 1].
        severity: 1 to 5.
        generator: CPU generator; the noise is drawn there for every device.
    """
    noise = torch.randn(images.shape, generator=generator).to(images)
    return (images + _NOISE[severity - 1] * noise).clamp(0, 1)


CORRUPTIONS: Mapping[str, Callable[[Images, int, torch.Generator], Images]] = MappingProxyType(
    {"gaussian_noise": gaussian_noise}
)
