"""Where features lie: in memory while they fit a budget, then in files that the system reads as they are needed."""

import shutil
import tempfile
from pathlib import Path
from types import TracebackType

import torch
from torch import Tensor

from geomlab.devices import GIBIBYTE
from geomlab.errors import UserError


class FeatureStore:
    """Room for features, within a memory budget; a context manager that removes its files at the end.

    What is in a file is a tensor like any other, mapped into memory: it may be read while the store is open, and the
    system keeps of it what it has room for.

    Args:
        memory: bytes of all features that are held in memory; those that do not fit are in files.
        folder: under which a folder for the files is made when the first is needed; default the system's.
        half: whether those in files are rounded to half precision (2⁻¹¹ of each, up to 65,504), which halves them.
    """

    def __init__(self, memory: int, folder: Path | None = None, *, half: bool = False) -> None:
        self._left, self._under, self._half = memory, folder, half
        self._folder: Path | None = None
        self._files = 0

    def __enter__(self) -> "FeatureStore":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def room(self, n: int, dim: int, dtype: torch.dtype) -> Tensor:
        """(n, dim) to be written into.

        Raises:
            UserError: if the disk has no room for it.
        """
        size = n * dim * dtype.itemsize
        if size <= self._left:
            self._left -= size
            return torch.empty(n, dim, dtype=dtype)
        kept = torch.float16 if self._half and dtype.itemsize > 2 else dtype
        return self._file(n * dim, kept).view(n, dim)

    def _file(self, entries: int, dtype: torch.dtype) -> Tensor:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="geomlab-features-", dir=self._under))
        size, free = entries * dtype.itemsize, shutil.disk_usage(self._folder).free
        if size > free:
            raise UserError(
                f"features of {size / GIBIBYTE:.2g} GiB do not fit the {free / GIBIBYTE:.2g} GiB left in "
                f"{self._folder.parent}; take fewer --samples or --layers, or set TMPDIR to a folder with room"
            )
        self._files += 1
        path = self._folder / str(self._files)
        return torch.from_file(str(path), shared=True, size=entries, dtype=dtype)
