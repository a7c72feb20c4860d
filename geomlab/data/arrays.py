"""Sources that give arrays or map-style data sets: the user's own factory, and torchvision's sets.

One rule for pixels: 8-bit ones (PIL images, uint8 arrays and tensors) are scaled by 1/255, all others are taken as they
are and must be in [0, 1].
"""

import inspect
import operator
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
from geomlab.data.decode import fit, rgb
from geomlab.data.places import Limits
from geomlab.data.source import Index, Source
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

    Raises:
        UserError: if `data` has another form.
    """

    def __init__(self, spec: str, data: Any, classes: tuple[str, ...] | None = None) -> None:
        self.spec = spec
        self.classes = classes
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

    def images(self, domain: str, rows: NDArray[np.intp], size: int | None) -> Images:
        """Images as the factory gives them; it knows what its network wants, so `size` only resizes data sets."""
        data = self._data[domain]
        if isinstance(data, Tensor):
            return _scaled(data[torch.from_numpy(rows)])
        try:
            images = torch.stack([_image(data[int(row)][0], size) for row in rows])
        except UserError as error:
            raise UserError(f"'{self.spec}': the data set '{domain}' holds {error}") from error
        except Exception as error:  # the user's own data set may fail in any way
            raise UserError(
                f"'{self.spec}': the data set '{domain}' cannot give its images: {architectures.reason(error)}; "
                "expected images (C,H,W) in [0,1] of one size"
            ) from error
        if size is not None and images.shape[-2:] != (size, size):
            # Bicubic overshoots; what was outside [0, 1] before stays so, and is refused.
            low, high = min(0.0, float(images.min())), max(1.0, float(images.max()))
            images = F.interpolate(images, size=(size, size), mode="bicubic", antialias=True).clamp(low, high)
        return images


def open_torchvision(spec: str, name: str, root: str, split: str | None) -> Arrays:
    """A torchvision classification set that is already on disk (nothing is downloaded).

    Args:
        spec: the SPEC as given.
        name: of the class in `torchvision.datasets`.
        root: folder it was downloaded to.
        split: its `split`, or train or test where it takes `train=True` or `False`; None for the set's own default.

    Raises:
        UserError: if there is no such set, or it is not under `root`, or its labels are not whole numbers.
    """
    import torchvision

    kind = getattr(torchvision.datasets, name, None)
    if kind is None or not isinstance(kind, type):
        raise UserError(
            f"'{spec}': torchvision has no data set '{name}'; see torchvision.datasets.__all__ (CIFAR10, Food101, …)"
        )
    takes = inspect.signature(kind).parameters
    options: dict[str, Any] = {"download": False} if "download" in takes else {}
    if split in ("train", "test") and "train" in takes:
        options["train"] = split == "train"
    elif split is not None:
        options["split"] = split
    try:
        data = kind(root, **options)
    except Exception as error:  # a set that is damaged, or lacks a library, may fail in any way
        if isinstance(error, TypeError):
            todo = "open it in a MODULE:FACTORY of yours, with the arguments that it takes"
        elif "download" in takes:
            todo = f"to fetch it, call torchvision.datasets.{name}({root!r}, download=True) once"
        else:
            todo = "check root"
        raise UserError(
            f"'{spec}': cannot open {name} under {root}: {architectures.reason(error)}; {todo}"
        ) from error
    classes = getattr(data, "classes", None)
    return Arrays(spec, data, tuple(map(str, classes)) if classes else None)


def _scaled(images: Tensor) -> Tensor:
    return images.float() / 255 if images.dtype == torch.uint8 else images.float()


def _image(image: Any, size: int | None) -> Tensor:
    """One image of a data set as (C, H, W); of arrays the last axis is the channels if only it can be."""
    if isinstance(image, Image.Image):
        return fit(rgb(image), size, Limits())
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

    That list is taken where a few items agree with it: of some sets it is no list of classes.
    """
    rows, kept = range(len(data)), _kept_labels(data)
    if len(kept) == len(rows):
        few = slice(None, None, max(1, len(rows) // 8))
        if np.array_equal(kept[few], _whole_numbers([data[row][1] for row in rows[few]])):
            return kept
    return _whole_numbers([data[row][1] for row in rows])


def _kept_labels(data: Any) -> NDArray[np.int64]:
    """The list of labels that a set of torchvision keeps; empty where there is none, or a transform changes it.

    A list of the user's own class is not looked at: nothing says that its items go by it.
    """
    pair = getattr(data, "transforms", None)  # one of the user's own, or made of the transforms of either
    changes = (getattr(data, "target_transform", None), getattr(pair, "target_transform", pair))
    if type(data).__module__.startswith("torchvision.datasets") and changes == (None, None):
        for name in ("targets", "labels", "_labels"):
            with suppress(Exception):  # the user's own attribute may be anything
                return _whole_numbers(getattr(data, name))
    return np.empty(0, dtype=np.int64)


def _whole_numbers(values: Any) -> NDArray[np.int64]:
    """A list, array or tensor of integers, or a list of tensors of one; `operator.index` refuses all else."""
    plain = values.tolist() if hasattr(values, "tolist") else values
    return np.array([operator.index(value) for value in plain], dtype=np.int64)
