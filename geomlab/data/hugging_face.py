"""`hf:`: a data set in the forms of Hugging Face's `datasets`, decoded here and not there."""

import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geomlab.architectures import Size
from geomlab.data.decode import read_images
from geomlab.data.hub import cached, library
from geomlab.data.labels import named_classes, numbered
from geomlab.data.places import OPTIONS as LIMITS
from geomlab.data.places import CannotRead, Limits, OnDisk, Place, checked, limits_of, nameable, printable
from geomlab.data.source import Index, Source
from geomlab.data.table_columns import chosen, columns, features_of
from geomlab.data.table_files import splits_of
from geomlab.data.tables import open_table
from geomlab.errors import UserError
from geomlab.spec import Spec
from geomlab.typing import Images

OPTIONS = ("config", "split", "image", "label", "classes", "download", *LIMITS)


class HuggingFace(Source):
    """One split of a set: a folder of its tables, or one of the hub by name.

    Args:
        spec: `hf:FOLDER` or `hf:OWNER/NAME`, with `config=`, `split=`, `image=`, `label=`, `classes=`, `download=yes`.

    Raises:
        UserError: if it cannot be opened, or does not say which split or columns.
    """

    domains = ("id",)

    def __init__(self, spec: Spec) -> None:
        self.spec = spec.text
        self._limits: Limits = limits_of(spec)
        self.skip = self._limits.skip
        library(spec)
        splits, self._roots = _files(spec, self._limits)
        self._split = chosen(spec, "split", splits)
        self._tables = [open_table(path) for path in splits[self._split]]
        features = [features_of(spec, table.schema) for table in self._tables]
        self._image, label = columns(spec, features[0])
        kinds = [(one.get(self._image), one.get(label)) for one in features]
        if any(one != kinds[0] for one in kinds):
            raise UserError(f"'{spec.text}': its files have columns of several kinds; fetch the folder again")
        names = named_classes(spec) or tuple(getattr(features[0][label], "names", None) or ()) or None
        values = [value for table in self._tables for value in table.column(label)]
        if not values:
            raise UserError(f"'{spec.text}': its split {self._split} has no rows")
        self._labels, self.classes = numbered(spec, values, names)
        self._starts = np.cumsum([0, *(table.rows for table in self._tables)])

    def list_samples(self, domain: str) -> Index:
        """Rows in the order of the files; ids are their numbers, with the split."""
        return Index(np.array([f"{self._split}/{row}" for row in range(len(self._labels))]), self._labels)

    def images(self, domain: str, rows: NDArray[np.intp], size: Size) -> Images:
        """As of files: resized and cut as `size` says; an orientation in EXIF is not applied."""
        return read_images(self._places(rows.tolist()), size, self._limits)

    def _places(self, rows: Sequence[int]) -> Iterator[Place]:
        for owner, group in groupby(
            rows, lambda row: int(np.searchsorted(self._starts, row, side="right")) - 1
        ):
            wanted, start = list(group), int(self._starts[owner])
            cells = self._tables[owner].cells(self._image, [row - start for row in wanted])
            for row, cell in zip(wanted, cells, strict=True):
                yield _Cell(f"{self.spec}, row {row} of {self._split}", cell, self._roots)


class _Cell(Place):
    """The image of one row: its bytes, or a path, which is followed only below the set's own folders."""

    is_folder = False

    def __init__(self, where: str, cell: Any, roots: Sequence[Path]) -> None:
        held = cell if isinstance(cell, dict) else {"bytes": cell}
        self._data: bytes | None = held.get("bytes")
        self._path: str | None = held.get("path")
        self.name = Path(self._path).name if self._path else ""
        self._where = f"{where} ({self.name})" if self.name else where
        self._roots = roots

    def entries(self) -> list[Place]:
        return []

    def read(self, most: int) -> bytes:
        if self._data is not None:
            return checked(self._data, most)
        if not self._path:
            raise CannotRead("the row holds no image")
        for root in self._roots:
            try:
                real, top = (root / self._path).resolve(), root.resolve()
            except (OSError, RuntimeError, ValueError) as error:  # a loop, a NUL
                raise CannotRead(f"its path cannot be followed ({error})") from error
            if real.is_relative_to(top):
                return OnDisk(real, top, is_folder=False).read(most)
        raise CannotRead(f"the row names a file out of {self._roots[0]}, which is not followed")

    def __str__(self) -> str:
        return printable(self._where)


def _files(spec: Spec, limits: Limits) -> tuple[dict[str, list[Path]], tuple[Path, ...]]:
    with nameable(spec, "FOLDER"):
        folder = Path(spec.positional).expanduser()
        there = folder.is_dir()
    if spec.positional and there:
        config = spec.option("config")
        if config is not None and OnDisk(folder, folder.resolve(), links=limits.links).inside(config) is None:
            raise UserError(f"'{spec.text}': {folder} has no folder '{config}'")
        return splits_of(spec, folder / (config or ""), links=limits.links), (folder,)
    if not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", spec.positional, re.ASCII):
        raise UserError(f"'{spec.text}': no folder '{spec.positional}', nor a name of the hub, OWNER/NAME")
    return cached(spec)
