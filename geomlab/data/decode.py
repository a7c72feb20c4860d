"""Image files, which anybody may have made -> tensors."""

import io
import threading
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from geomlab.architectures import Size, frame_of
from geomlab.data.places import CannotRead, Limits, Place
from geomlab.data.source import Unreadable
from geomlab.errors import UserError
from geomlab.typing import Float, Images

# What a file of each ending may hold. Pillow itself goes by content, and would try all its readers, of PostScript too.
_FORMATS: Mapping[str, tuple[str, ...]] = {
    ".jpg": ("JPEG", "MPO"),  # MPO: a JPEG with further ones behind it, as telephones write
    ".jpeg": ("JPEG", "MPO"),
    ".png": ("PNG",),
    ".bmp": ("BMP",),
    ".webp": ("WEBP",),
    ".ppm": ("PPM",),
    ".tif": ("TIFF",),
    ".tiff": ("TIFF",),
}
SUFFIXES = tuple(sorted(_FORMATS))
ALL = ("JPEG", "MPO", "PNG", "BMP", "WEBP", "PPM", "TIFF")
_READERS = tuple(name for name in ALL if name != "MPO")  # which that of JPEG reads
_EIGHT_BITS = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV")  # modes of Pillow
BOMBS = (Image.DecompressionBombWarning, Image.DecompressionBombError)
_GUARD = threading.RLock()  # Pillow's limit is one of the process


def suffix(name: str) -> str:
    """The ending of an image file's name, in small letters; "" where it is none."""
    stem, dot, ending = name.rpartition(".")
    found = (dot + ending).lower()
    return found if stem and found in _FORMATS else ""


def read_images(places: Iterable[Place], size: Size, limits: Limits, *, border: int = 0) -> Images:
    """Decode image files to RGB in [0, 1], resized and cut as `size` says.

    Args:
        places: the files, each read before the next is asked for; one whose name has no ending may hold any format.
        size: how large they become; None keeps them as they are.
        limits: what they may cost.
        border: pixels that are cut off every side first.

    Raises:
        Unreadable: if some are damaged, mislabelled or too large: it says which, and holds the others.
        UserError: if one has more than 8 bits a channel, or they have several sizes where none was asked for.
    """
    images: dict[int, Tensor] = {}
    reasons: dict[int, str] = {}
    first = ""
    for row, place in enumerate(places):
        first = first or str(place)
        try:
            images[row] = fit(_decoded(place, limits, border), size, limits)
        except CannotRead as error:
            reasons[row] = f"{place}: {error}"
    if reasons:
        raise Unreadable(reasons, images)
    return stack(list(images.values()), first)


def stack(images: Sequence[Tensor], where: str) -> Images:
    """Images as one tensor.

    Raises:
        UserError: if they have several sizes.
    """
    shapes = {tuple(image.shape) for image in images}
    if len(shapes) > 1:
        raise UserError(
            f"{where} and others: images of {len(shapes)} sizes, and the network does not say its own"
        )
    return torch.stack(list(images))


def _decoded(place: Place, limits: Limits, border: int) -> Image.Image:
    try:
        image = decode(place.read(limits.bytes), limits, _FORMATS.get(suffix(place.name), ALL))
    except UserError as error:
        raise UserError(f"{place}: {error}") from error
    if min(image.size) <= 2 * border:
        raise CannotRead(f"{image.size[0]}×{image.size[1]} pixels, all of them border")
    return image.crop((border, border, image.size[0] - border, image.size[1] - border)) if border else image


def decode(data: bytes, limits: Limits, formats: Sequence[str] = ALL) -> Image.Image:
    """An image file's first picture as RGB.

    Args:
        data: the file.
        limits: what it may cost.
        formats: as Pillow names them, of which it must be one.

    Raises:
        CannotRead: if it is none, is damaged, or declares more pixels than allowed.
        UserError: if it has more than 8 bits a channel.
    """
    try:
        with limited(limits.pixels), Image.open(io.BytesIO(data), formats=_READERS) as opened:
            if opened.format not in formats:
                raise CannotRead(f"named as {formats[0]}, holds {opened.format}; rename it")
            return rgb(opened)
    except (UserError, CannotRead):
        raise
    except BOMBS as error:
        raise CannotRead(
            f"declares more than {limits.pixels:,} pixels; pixels= in the SPEC raises the limit"
        ) from error
    except Exception as error:  # Pillow's readers raise anything on a damaged file
        said = "" if isinstance(error, UnidentifiedImageError) else f" ({' '.join(str(error).split())})"
        raise CannotRead(f"not a readable image{said}; repair or remove it") from error


@contextmanager
def limited(pixels: int | None) -> Iterator[None]:
    """Pillow's own limit, which its readers look at before they take memory; None leaves that as it is."""
    if pixels is None:
        yield
        return
    with _GUARD, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd metadata
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, pixels
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


def rgb(image: Image.Image) -> Image.Image:
    """An image of 8 bits a channel as RGB.

    Raises:
        UserError: if it has more bits: Pillow would cut the values off at 255, not scale them.
    """
    if image.mode not in _EIGHT_BITS:
        raise UserError(
            f"an image of mode {image.mode}, expected 8 bits a channel ({', '.join(_EIGHT_BITS)}); convert it first"
        )
    return image.convert("RGB")


def fit(image: Image.Image, size: Size, limits: Limits) -> Float[Tensor, "3 h w"]:
    """An RGB image as a tensor in [0, 1], resized and cut as `size` says.

    Halves are rounded as torchvision's Resize and CenterCrop do, so that it is CLIP's own preprocessing to the bit.

    Raises:
        CannotRead: if it is so much longer than broad that resizing it would take too many pixels.
    """
    frame = None if size is None else frame_of(size)
    if frame and (image.size != (frame.size, frame.size) or frame.resize != frame.size):
        width, height = frame.resized(image.size)
        if width * height > max(limits.pixels, frame.resize**2):
            raise CannotRead(
                f"{image.size[0]}×{image.size[1]} pixels would become {width}×{height}; "
                "pixels= in the SPEC raises the limit"
            )
        image = image.resize((width, height), Image.Resampling[frame.interpolation.upper()])
        left, top = (round((side - frame.size) / 2) for side in (width, height))
        image = image.crop((left, top, left + frame.size, top + frame.size))
    return torch.from_numpy(np.array(image, dtype=np.uint8)).permute(2, 0, 1).float() / 255
