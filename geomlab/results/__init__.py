"""Labelled results: what a cell holds, where it lies, how a folder is opened (FORMAT.md)."""

from geomlab.results.cell import CellKey
from geomlab.results.store import Results, Store, open_results

__all__ = ["CellKey", "Results", "Store", "open_results"]
