"""Labelled results: what a cell holds, where it lies, how a folder is opened (FORMAT.md)."""

from geomlab.results.cell import CellKey
from geomlab.results.store import Cells, Results, Store, open_results

__all__ = ["CellKey", "Cells", "Results", "Store", "open_results"]
