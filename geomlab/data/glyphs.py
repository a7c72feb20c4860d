"""`glyphs`: the embedded data. scikit-learn's handwritten digits as 16×16 colour images in six domains.

The 1,797 digits are real scans (Alpaydin & Kaynak 1998, UCI Optical Recognition of Handwritten Digits). Every domain
shows the same digits; the train/test split is by digit, so none is in both in any domain.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from torch import Tensor
from torch.nn import functional as F

from geomlab.architectures import Size, frame_of
from geomlab.data.source import Index, Source
from geomlab.errors import UserError
from geomlab.rng import generator
from geomlab.typing import Images

SIZE = 16
CLASSES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
N_TEST = 597


class Glyphs(Source):
    """The embedded source.

    Args:
        split: `test` (597 digits), `train` (1,200) or `all`.

    Raises:
        UserError: for another split.
    """

    classes = CLASSES
    domains = ("photo", "sketch", "rendition", "negative", "rotated", "variant")
    templates = tuple(f"a {domain} of the digit {{}}" for domain in domains[:-1])
    conditions = (
        "clean",
        "pgd:eps=16/255",
        "domain:sketch",
        "domain:rendition",
        "corruption:gaussian_noise,severity=3",
    )

    def __init__(self, split: str = "test") -> None:
        if split not in ("train", "test", "all"):
            raise UserError(f"glyphs: no split '{split}'; there are train, test and all")
        self.spec = f"glyphs:split={split}"
        self._rows = _split(split)

    def list_samples(self, domain: str) -> Index:
        """The digits of the split; ids are the same in every domain."""
        labels = _digits()[1]
        return Index(self._rows.astype(str), labels[self._rows])

    def images(self, domain: str, rows: NDArray[np.intp], size: Size) -> Images:
        """Images (n, 3, 16, 16), or resized (bicubic) where another size is asked for."""
        images = _domain(domain)[torch.from_numpy(self._rows[rows])]
        side = SIZE if size is None else frame_of(size).size
        if side != SIZE:
            images = F.interpolate(images, size=(side, side), mode="bicubic", antialias=True).clamp(0, 1)
        return images


@lru_cache(maxsize=1)
def _digits() -> tuple[Tensor, NDArray[np.int64]]:
    """Ink (1797, 1, 16, 16) in [0, 1] and labels (1797,)."""
    bunch = load_digits()
    ink = torch.tensor(bunch.images, dtype=torch.float32).unsqueeze(1) / 16
    ink = F.interpolate(ink, size=(SIZE, SIZE), mode="bicubic", align_corners=False).clamp(0, 1)
    return ink, bunch.target.astype(np.int64)


@lru_cache(maxsize=3)
def _split(split: str) -> NDArray[np.intp]:
    order = np.random.default_rng(20_260_327).permutation(len(_digits()[1]))
    chosen = {"test": order[:N_TEST], "train": order[N_TEST:], "all": order}[split]
    return np.sort(chosen)


@lru_cache(maxsize=6)
def _domain(name: str) -> Images:
    """All 1,797 digits of one domain, in 8 bits as a camera or a file would give them."""
    ink = _digits()[0]
    images = _RENDER[name](ink, generator(0, "glyphs", name))
    return (images.clamp(0, 1) * 255).round() / 255


def _uniform(n: int, low: float, high: float, rng: torch.Generator) -> Tensor:
    return torch.rand(n, 1, 1, 1, generator=rng) * (high - low) + low


def _photo(ink: Tensor, rng: torch.Generator) -> Tensor:
    """Chalk on a dark board: uneven light, a slight tint, sensor noise."""
    n = len(ink)
    tint = 1 - 0.15 * torch.rand(n, 3, 1, 1, generator=rng)
    slope = torch.linspace(-1, 1, SIZE).view(1, 1, 1, -1) * _uniform(n, -0.06, 0.06, rng)
    board = _uniform(n, 0.05, 0.2, rng)
    noise = 0.02 * torch.randn(n, 3, SIZE, SIZE, generator=rng)
    return board + slope + (0.95 - board) * ink * tint + noise


def _sketch(ink: Tensor, rng: torch.Generator) -> Tensor:
    """Pencil outlines on paper: gradient magnitude of the ink, dark on light."""
    kernel = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]]).view(1, 1, 3, 3) / 4
    padded = F.pad(ink, (1, 1, 1, 1), mode="replicate")
    edges = (F.conv2d(padded, kernel).square() + F.conv2d(padded, kernel.transpose(2, 3)).square()).sqrt()
    paper = 0.95 + 0.02 * torch.randn(len(ink), 1, SIZE, SIZE, generator=rng)
    return (paper - 0.9 * edges.clamp(0, 1)).expand(-1, 3, -1, -1)


def _rendition(ink: Tensor, rng: torch.Generator) -> Tensor:
    """A print: one random colour on a woven ground of another, lighter or darker."""
    n = len(ink)
    stroke = torch.rand(n, 3, 1, 1, generator=rng)
    ground = (stroke + 0.5 + 0.2 * (torch.rand(n, 3, 1, 1, generator=rng) - 0.5)) % 1.0
    phase = _uniform(n, 0, 2 * torch.pi, rng)
    x, y = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    weave = (
        0.12
        * torch.sin(1.6 * (x + y).view(1, 1, SIZE, SIZE) + phase)
        * torch.sin(1.6 * (x - y).view(1, 1, SIZE, SIZE))
    )
    return ground * (1 - ink) + stroke * ink + weave


def _negative(ink: Tensor, rng: torch.Generator) -> Tensor:
    """Photographic negative of the photo, by a scanner of its own noise."""
    return 1 - _photo(ink, rng)


def _rotated(ink: Tensor, rng: torch.Generator) -> Tensor:
    """The photo, turned by 15 to 40 degrees either way."""
    n = len(ink)
    sign = torch.randint(0, 2, (n,), generator=rng) * 2 - 1
    angle = torch.deg2rad(sign * _uniform(n, 15, 40, rng).view(n))
    return _photo(_warp(ink, angle.cos(), -angle.sin(), angle.sin(), angle.cos()), rng)


def _variant(ink: Tensor, rng: torch.Generator) -> Tensor:
    """Held out from all training: other pens. Slanted, thicker, on a brighter board with less contrast."""
    n = len(ink)
    slant = _uniform(n, -0.35, 0.35, rng).view(n)
    one = torch.ones(n)
    slanted = _warp(ink, one, slant, torch.zeros(n), one)
    bold = F.max_pool2d(slanted, 3, stride=1, padding=1)
    return 0.25 + 0.6 * _photo((slanted + bold) / 2, rng)


def _warp(ink: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    zero = torch.zeros_like(a)
    matrices = torch.stack([torch.stack([a, b, zero], 1), torch.stack([c, d, zero], 1)], 1)
    grid = F.affine_grid(matrices, list(ink.shape), align_corners=False)
    return F.grid_sample(ink, grid, align_corners=False)


_RENDER: Mapping[str, Callable[[Tensor, torch.Generator], Tensor]] = MappingProxyType(
    {
        "photo": _photo,
        "sketch": _sketch,
        "rendition": _rendition,
        "negative": _negative,
        "rotated": _rotated,
        "variant": _variant,
    }
)
