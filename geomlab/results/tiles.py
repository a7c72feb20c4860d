"""Parts of cells that are still being computed: what a run that was cut short leaves for the next."""

import io
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geomlab.results.cell import CellKey
from geomlab.results.store import Store, write_bytes

FOLDER = ".tiles"


@dataclass(frozen=True)
class TileFolder:
    """Tiles of several cells, a folder a cell, named by the cell's key: a tile of other settings is not found.

    Attributes:
        store: of the cells.
        keys: condition -> key of its cell.
    """

    store: Store
    keys: Mapping[str, CellKey]

    def read(self, condition: str, number: int) -> dict[str, NDArray[Any]] | None:
        """A tile that is there and whole, or None."""
        try:
            with np.load(self._folder(condition) / f"{number}.npz", allow_pickle=False) as found:
                return {name: found[name] for name in found}
        except (FileNotFoundError, ValueError, EOFError, zipfile.BadZipFile):  # a damaged one is made anew
            return None

    def write(self, condition: str, number: int, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Keep a tile: a reader sees all of it or nothing.

        Raises:
            UserError: if the folder cannot be written.
        """
        content = io.BytesIO()
        np.savez(content, allow_pickle=False, **arrays)
        write_bytes(self._folder(condition) / f"{number}.npz", content.getvalue())

    def clear(self) -> None:
        """Remove the tiles of these cells, which are whole now."""
        for condition in self.keys:
            shutil.rmtree(self._folder(condition), ignore_errors=True)
        folder = self.store.folder / FOLDER
        if folder.exists() and not any(folder.iterdir()):
            folder.rmdir()

    def _folder(self, condition: str) -> Path:
        return self.store.folder / FOLDER / Path(self.keys[condition].file).stem
