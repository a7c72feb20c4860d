"""Labelled results: what a cell holds, where it lies, how a folder is opened (FORMAT.md)."""

from geomlab.results.cell import CellKey
from geomlab.results.store import Cells, Results, Store, open_results
from geomlab.results.tiles import TileFolder

__all__ = ["CellKey", "Cells", "Results", "Store", "TileFolder", "open_results"]
