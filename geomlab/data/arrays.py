"""A source that gives arrays or a map-style data set: the user's own factory's, torchvision's, Hugging Face's.

One rule for pixels: 8-bit ones (PIL images, uint8 arrays and tensors) are scaled by 1/255, all others are taken as they
are and must be in [0, 1].
"""

import operator
import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from geomlab import architectures
from geomlab.architectures import Size, frame_of
from geomlab.data.decode import BOMBS, fit, limited, rgb
from geomlab.data.places import Limits, printable
from geomlab.data.source import Index, Source, Unreadable
from geomlab.errors import UserError
from geomlab.spec import escape
from geomlab.typing import Images


class Arrays(Source):
    """Images and labels that a factory returned.

    Args:
        spec: the SPEC as given.
        data: `(images, labels)`, a map-style data set of such pairs, or a dict of those by domain, in-distribution
            first. Entries whose labels equal the first one's are taken to be the same samples in the same order; put
            unrelated ones in another order.
        classes: class names where they are known.
        limits: what the files of a data set may cost, whose unreadable images are then passed over; None for one in
            the user's own code, which is to say itself what is wrong.

    Raises:
        UserError: if `data` has another form.
    """

    def __init__(
        self, spec: str, data: Any, classes: tuple[str, ...] | None = None, *, limits: Limits | None = None
    ) -> None:
        self.spec = spec
        self.classes = classes
        self.skip = limits.skip if limits else 0
        self._limits = limits
        given = (
            {str(name): value for name, value in data.items()} if isinstance(data, Mapping) else {"id": data}
        )
        if not given:
            raise UserError(
                f"'{spec}': the factory returned an empty dict; expected (images, labels) by condition name"
            )
        read = {
            name: _pair(spec, value) if _is_pair(value) else _set(spec, value)
            for name, value in given.items()
        }
        self._data = {name: images for name, (images, _) in read.items()}
        self._labels = {name: labels for name, (_, labels) in read.items()}
        self.domains = tuple(given)
        self.conditions = ("clean", "pgd", *(f"domain:{escape(name)}" for name in self.domains[1:]))
        if len(self.domains) == 1:
            self.conditions = Source.conditions

    def list_samples(self, domain: str) -> Index:
        """Rows; their ids agree with the first domain's where the labels do."""
        labels = self._labels[domain]
        paired = np.array_equal(labels, self._labels[self.domains[0]])
        prefix = "" if paired else f"{domain}/"
        return Index(np.array([f"{prefix}{row}" for row in range(len(labels))]), labels)

    def images(self, domain: str, rows: NDArray[np.intp], size: Size) -> Images:
        """Images as the factory gives them; it knows what its network wants, so `size` only resizes data sets."""
        data = self._data[domain]
        if isinstance(data, Tensor):
            return _scaled(data[torch.from_numpy(rows)])
        found = self._decoded(domain, rows, size)
        try:
            images = torch.stack(found)
        except (RuntimeError, TypeError) as error:
            raise self._wrong(domain, error) from error
        side = None if size is None else frame_of(size).size
        if side is not None and images.shape[-2:] != (side, side):
            # Bicubic overshoots; what was outside [0, 1] before stays so, and is refused.
            low, high = min(0.0, float(images.min())), max(1.0, float(images.max()))
            images = F.interpolate(images, size=(side, side), mode="bicubic", antialias=True).clamp(low, high)
        return images

    def _decoded(self, domain: str, rows: NDArray[np.intp], size: Size) -> list[Tensor]:
        data, limits = self._data[domain], self._limits or Limits()
        images: dict[int, Tensor] = {}
        reasons: dict[int, str] = {}
        for i, row in enumerate(rows.tolist()):
            try:
                with limited(limits.pixels if self._limits else None):
                    images[i] = _image(data[row][0], size, limits)
            except UserError as error:
                raise UserError(f"'{self.spec}': the data set '{domain}' holds {error}") from error
            except Exception as error:  # a damaged file, or the user's own data set, may fail in any way
                if self._limits is None:
                    raise self._wrong(domain, error) from error
                reasons[i] = f"{_file(data, row)}: {architectures.reason(error)}"
        if reasons:
            raise Unreadable(reasons, images)
        return list(images.values())

    def _wrong(self, domain: str, error: Exception) -> UserError:
        return UserError(
            f"'{self.spec}': the data set '{domain}' cannot give its images: {architectures.reason(error)}; "
            "expected images (C,H,W) in [0,1] of one size"
        )


def _scaled(images: Tensor) -> Tensor:
    return images.float() / 255 if images.dtype == torch.uint8 else images.float()


def _file(data: Any, row: int) -> str:
    """The file of an image where a set of torchvision keeps their list, else its number."""
    for name in ("_image_files", "_images", "samples", "_samples"):
        with suppress(Exception):  # the attribute may be anything
            kept = getattr(data, name)[row]
            return printable(os.fspath(kept[0] if isinstance(kept, tuple) else kept))
    return f"image {row}"


def _image(image: Any, size: Size, limits: Limits) -> Tensor:
    """One image of a data set as (C, H, W); of arrays the last axis is the channels if only it can be."""
    if isinstance(image, Image.Image):
        return fit(rgb(image), size, limits)
    if isinstance(image, Tensor):
        return _scaled(image)
    tensor = torch.tensor(image)
    return _scaled(
        tensor.permute(2, 0, 1) if tensor.shape[-1] in (1, 3) and len(tensor) not in (1, 3) else tensor
    )


def _is_pair(data: Any) -> bool:
    """Whether `data` is (images, labels), and not a list of two samples."""
    return isinstance(data, tuple | list) and len(data) == 2 and not all(map(_is_sample, data))


def _is_sample(item: Any) -> bool:
    """Whether `item` is (image, label): an image has two axes or more, a label fewer."""
    try:
        return isinstance(item, tuple | list) and len(item) == 2 and np.ndim(item[0]) >= 2 > np.ndim(item[1])
    except (TypeError, ValueError, RuntimeError):  # nested lists of uneven lengths
        return False


def _wanted(spec: str) -> str:
    return f"'{spec}': expected (images N,C,H,W in [0,1], labels N), a data set of such pairs, or a dict of those"


def _pair(spec: str, data: Any) -> tuple[Tensor, NDArray[np.int64]]:
    try:
        images = torch.as_tensor(data[0])
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"{_wanted(spec)}; got what is no array: {architectures.reason(error)}") from error
    try:
        labels = _whole_numbers(data[1])
    except (TypeError, ValueError, OverflowError) as error:
        raise UserError(f"{_wanted(spec)}; the labels are not whole numbers: {error}") from error
    if images.ndim != 4 or images.is_complex() or len(labels) != len(images):
        raise UserError(f"{_wanted(spec)}; got images {tuple(images.shape)} and labels {labels.shape}")
    return images, labels


def _set(spec: str, data: Any) -> tuple[Any, NDArray[np.int64]]:
    readable = hasattr(data, "__getitem__") and hasattr(data, "__len__")
    if not readable or isinstance(data, str | Tensor | np.ndarray):
        raise UserError(f"{_wanted(spec)}; got a {type(data).__name__}")
    try:
        return data, _labels_of_set(data)
    except Exception as error:  # the user's own data set may fail in any way
        reason = architectures.reason(error)
        raise UserError(f"{_wanted(spec)}; its labels cannot be read as whole numbers: {reason}") from error


def _labels_of_set(data: Any) -> NDArray[np.int64]:
    """All labels. Reading an item decodes its image, so torchvision's own sets are asked for the list they keep.

    That list is taken where a few items agree with it, those that can be read: of some sets it is no list of classes.
    """
    rows, kept = range(len(data)), _kept_labels(data)
    if len(kept) == len(rows):
        few = {row: _label(data, row) for row in rows[:: max(1, len(rows) // 8)]}
        read = [row for row, label in few.items() if label is not None]
        if read and np.array_equal(kept[read], _whole_numbers([few[row] for row in read])):
            return kept
    return _whole_numbers([data[row][1] for row in rows])


def _label(data: Any, row: int) -> Any:
    """What an item says of its class, None where its image cannot be read."""
    try:
        return data[row][1]
    except (OSError, ValueError, SyntaxError, *BOMBS):  # as Pillow's readers say it
        return None


def _kept_labels(data: Any) -> NDArray[np.int64]:
    """The list of labels that a set of torchvision keeps; empty where there is none, or a transform changes it.

    A list of the user's own class is not looked at: nothing says that its items go by it.
    """
    pair = getattr(data, "transforms", None)  # one of the user's own, or made of the transforms of either
    changes = (getattr(data, "target_transform", None), getattr(pair, "target_transform", pair))
    if type(data).__module__.startswith("torchvision.datasets") and changes == (None, None):
        for name in ("targets", "labels", "_labels", "y", "_samples"):
            with suppress(Exception):  # the attribute may be anything
                kept = getattr(data, name)
                return _whole_numbers([label for _, label in kept] if name == "_samples" else kept)
    return np.empty(0, dtype=np.int64)


def _whole_numbers(values: Any) -> NDArray[np.int64]:
    """A list, array or tensor of integers, or a list of tensors of one; `operator.index` refuses all else."""
    plain = values.tolist() if hasattr(values, "tolist") else values
    return np.array([operator.index(value) for value in plain], dtype=np.int64)
