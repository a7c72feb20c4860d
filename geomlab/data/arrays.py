"""Sources that give arrays or map-style data sets: the user's own factory, and torchvision's sets."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from geomlab import architectures
from geomlab.data.source import Index, Source
from geomlab.errors import UserError
from geomlab.typing import Images


class Arrays(Source):
    """Images and labels that a factory returned.

    Args:
        spec: the SPEC as given.
        data: `(images, labels)`, a map-style data set of such pairs, or a dict of those by domain, in-distribution
            first. Entries of equal length and equal labels are taken to be the same samples in the same order.
        classes: class names where they are known.

    Raises:
        UserError: if `data` has another form.
    """

    def __init__(self, spec: str, data: Any, classes: tuple[str, ...] | None = None) -> None:
        self.spec = spec
        self.classes = classes
        self._data = (
            {str(name): value for name, value in data.items()} if isinstance(data, Mapping) else {"id": data}
        )
        if not self._data:
            raise UserError(
                f"'{spec}': the factory returned an empty dict; expected (images, labels) by condition name"
            )
        self._labels = {name: _labels(spec, value) for name, value in self._data.items()}
        self.domains = tuple(self._data)
        self.conditions = ("clean", "pgd", *(f"domain:{name}" for name in self.domains[1:]))
        if len(self.domains) == 1:
            self.conditions = Source.conditions

    def index(self, domain: str) -> Index:
        """Rows; their ids agree with the first domain's where the labels do."""
        labels = self._labels[domain]
        paired = np.array_equal(labels, self._labels[self.domains[0]])
        prefix = "" if paired else f"{domain}/"
        return Index(np.array([f"{prefix}{row}" for row in range(len(labels))]), labels)

    def images(self, domain: str, rows: NDArray[np.intp], size: int | None) -> Images:
        """Images as the factory gives them; it knows what its network wants, so `size` only resizes data sets."""
        data = self._data[domain]
        if isinstance(data, tuple | list) and len(data) == 2:
            return torch.as_tensor(data[0])[torch.from_numpy(rows)].float()
        try:
            images = torch.stack([_tensor(data[int(row)][0]) for row in rows])
        except Exception as error:  # the user's own data set may fail in any way
            raise UserError(
                f"'{self.spec}': the data set '{domain}' cannot give its images: {architectures.reason(error)}; "
                "expected images (C,H,W) in [0,1] of one size"
            ) from error
        if size is not None and images.shape[-2:] != (size, size):
            images = F.interpolate(images, size=(size, size), mode="bicubic", antialias=True).clamp(0, 1)
        return images


def open_torchvision(spec: str, name: str, root: str, split: str | None) -> Arrays:
    """A torchvision classification set that is already on disk (nothing is downloaded).

    Raises:
        UserError: if there is no such set, or it is not under `root`.
    """
    import torchvision

    kind = getattr(torchvision.datasets, name, None)
    if kind is None or not isinstance(kind, type):
        raise UserError(
            f"'{spec}': torchvision has no data set '{name}'; it has {', '.join(_classification_sets())}"
        )
    options = {"split": split} if split else {}
    try:
        data = kind(root, **options)
    except (RuntimeError, FileNotFoundError, TypeError, ValueError) as error:
        raise UserError(f"'{spec}': cannot open {name} under {root}: {error}") from error
    classes = getattr(data, "classes", None)
    return Arrays(spec, data, tuple(map(str, classes)) if classes else None)


def _classification_sets() -> list[str]:
    import torchvision

    return [name for name in torchvision.datasets.__all__ if name[0].isupper()][:40]


def _tensor(image: Any) -> torch.Tensor:
    """One image as (C, H, W) float: a tensor as it is, a PIL image or uint8 array scaled to [0, 1]."""
    if isinstance(image, torch.Tensor):
        return image.float()
    array = np.asarray(image.convert("RGB") if hasattr(image, "convert") else image)
    tensor = torch.from_numpy(array.copy()).permute(2, 0, 1)
    return tensor.float() / 255 if array.dtype == np.uint8 else tensor.float()


def _labels(spec: str, data: Any) -> NDArray[np.int64]:
    wanted = f"'{spec}': expected (images N,C,H,W in [0,1], labels N), a data set of such pairs, or a dict of those"
    if isinstance(data, tuple | list) and len(data) == 2:
        try:
            images, labels = torch.as_tensor(data[0]), np.asarray(data[1])
        except (TypeError, ValueError, RuntimeError) as error:
            raise UserError(f"{wanted}; got what is no array: {architectures.reason(error)}") from error
        if images.ndim != 4 or images.is_complex() or labels.shape != (len(images),):
            raise UserError(f"{wanted}; got images {tuple(images.shape)} and labels {labels.shape}")
        if not np.issubdtype(labels.dtype, np.integer):
            raise UserError(f"{wanted}; the labels are {labels.dtype}, not whole numbers")
        return labels.astype(np.int64)
    if not (hasattr(data, "__getitem__") and hasattr(data, "__len__")) or isinstance(data, str):
        raise UserError(f"{wanted}; got a {type(data).__name__}")
    known = getattr(data, "targets", getattr(data, "labels", None))
    try:
        values = np.asarray(known if known is not None else [data[row][1] for row in range(len(data))])
    except Exception as error:  # the user's own data set may fail in any way
        raise UserError(f"{wanted}; its items cannot be read: {architectures.reason(error)}") from error
    if values.shape != (len(data),) or not (np.issubdtype(values.dtype, np.integer) or not len(values)):
        raise UserError(f"{wanted}; its labels are {values.dtype} of shape {values.shape}")
    return values.astype(np.int64)
