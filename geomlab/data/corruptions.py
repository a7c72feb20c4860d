"""Corruptions of images: functions of (images, severity, generator).

`gaussian_noise` is ours, for images of any size and number of channels, not rounded to 8 bits. The other 18 are those
of imagecorruptions-imaug (Hendrycks & Dietterich 2019; Michaelis et al. 2019 for any size), an extra: with OpenCV and
scikit-image it takes 250 MB.
"""

import warnings
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

import numpy as np
import torch

from geomlab.errors import UserError
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


def by_library(name: str, images: Images, severity: int, generator: torch.Generator) -> Images:
    """A corruption of imagecorruptions-imaug, each sample with a seed of its own; rounded to 8 bits, as it works on.

    Args:
        name: of the corruption.
        images: (n, 3, H, W) in [0, 1], at least 32 pixels a side.
        severity: 1 to 5.
        generator: CPU generator of the seeds.

    Raises:
        UserError: if the extra is not installed, or it does not take such images.
    """
    try:
        import imagecorruptions
    except ImportError as error:
        raise UserError(
            f"corruption:{name} needs imagecorruptions-imaug ({error}); pip install 'geomlab[corruptions]'"
        ) from error
    if images.shape[1] != 3 or min(images.shape[2:]) < _LEAST:
        raise UserError(
            f"corruption:{name} takes images of 3 channels and at least {_LEAST} pixels a side, got "
            f"{tuple(images.shape[1:])}; use corruption:gaussian_noise"
        )
    pixels = (images.detach().cpu() * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    seeds = torch.randint(2**31, (len(images),), generator=generator).tolist()
    before = np.random.get_state()  # noqa: NPY002 (the library draws from it)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of overflow in its casts
            found = []
            for image, seed in zip(pixels, seeds, strict=True):
                np.random.seed(seed)  # noqa: NPY002
                own = {"seed": seed} if name in _SEEDED else {}
                found.append(imagecorruptions.corrupt(image, severity, name, **own))
    except Exception as error:  # frost, for example, has images of one size
        raise UserError(
            f"corruption:{name} fails on images of shape {tuple(images.shape[1:])}: {error}"
        ) from error
    finally:
        np.random.set_state(before)  # noqa: NPY002
    return (torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2) / 255).to(images)


_LEAST = 32  # pixels a side that the library asks for
_SEEDED = ("glass_blur", "impulse_noise")  # which draw from elsewhere, and take a seed
_THEIRS = (
    "shot_noise", "impulse_noise", "defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "snow", "frost", "fog",
    "brightness", "contrast", "elastic_transform", "pixelate", "jpeg_compression", "speckle_noise", "gaussian_blur",
    "spatter", "saturate",
)  # fmt: skip

CORRUPTIONS: Mapping[str, Callable[[Images, int, torch.Generator], Images]] = MappingProxyType(
    {"gaussian_noise": gaussian_noise, **{name: partial(by_library, name) for name in _THEIRS}}
)
