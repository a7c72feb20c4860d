"""Arrow and Parquet files read by rows, in place: nothing of them is converted, copied to a cache or decoded."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geomlab.data.places import printable
from geomlab.errors import UserError

SUFFIXES = (".arrow", ".parquet")
_AT_ONCE = 8  # rows: a value that a dictionary holds once may be large, and each row repeats it
_LABELS_AT_ONCE = 256


class Table(ABC):
    """The rows of one file.

    Attributes:
        schema: Arrow's, with the metadata that the file holds.
        rows: how many there are.
    """

    schema: Any
    rows: int

    @abstractmethod
    def column(self, name: str) -> list[Any]:
        """All values of a column."""

    @abstractmethod
    def cells(self, name: str, rows: Sequence[int]) -> Iterator[Any]:
        """Values of a column at some rows; fastest where they ascend."""


def open_table(path: Path) -> Table:
    """A `.parquet` file, or an `.arrow` one as a stream or a file.

    Raises:
        UserError: if it is neither, is damaged, or declares more than it holds.
    """
    with reading(path):
        return _Parquet(path) if path.suffix == ".parquet" else _Arrow(path)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """What Arrow says of a damaged file, as one line.

    Raises:
        UserError: if there is any error.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # Arrow's own, OSError, MemoryError, and what Python's unpacking says
        said = " ".join((str(error) or type(error).__name__).split())[:200]
        where = printable(str(path))
        raise UserError(f"{where}: not a readable {path.suffix} file ({said}); fetch it again") from error


class _Arrow(Table):
    """Mapped into memory, so that only the rows that are asked for are read.

    A file may put a value anywhere, and Arrow would follow: every column is checked before its first value is read.
    """

    def __init__(self, path: Path) -> None:
        import pyarrow

        self._path = path
        source = pyarrow.memory_map(str(path))
        try:
            reader = pyarrow.ipc.open_stream(source)
            batches = list(self._checked(reader, path))
        except pyarrow.ArrowInvalid:  # the other form of the two
            reader = pyarrow.ipc.open_file(source)
            batches = list(
                self._checked((reader.get_batch(i) for i in range(reader.num_record_batches)), path)
            )
        self.schema = reader.schema
        self._table = pyarrow.Table.from_batches(batches, schema=reader.schema)
        self.rows = self._table.num_rows
        self._valid: set[str] = set()

    @staticmethod
    def _checked(batches: Iterator[Any], path: Path) -> Iterator[Any]:
        size = path.stat().st_size
        for batch in batches:
            if batch.nbytes > size or batch.num_rows > size:
                raise UserError(
                    f"{printable(str(path))}: holds more than its {size:,} bytes; write it uncompressed, or as Parquet"
                )
            yield batch

    def column(self, name: str) -> list[Any]:
        with reading(self._path):
            return list(self._validated(name).to_pylist())

    def cells(self, name: str, rows: Sequence[int]) -> Iterator[Any]:
        with reading(self._path):
            column = self._validated(name)
        for row in rows:
            yield column[row].as_py()

    def _validated(self, name: str) -> Any:
        column = self._table.column(name)
        if name not in self._valid:
            column.validate(full=True)
            self._valid.add(name)
        return column


class _Parquet(Table):
    """Read by row groups, a few rows at a time."""

    def __init__(self, path: Path) -> None:
        import pyarrow.parquet

        self._path = path
        self._file = pyarrow.parquet.ParquetFile(path)
        self.schema = self._file.schema_arrow
        about, size = self._file.metadata, path.stat().st_size
        counts = [about.row_group(i).num_rows for i in range(about.num_row_groups)]
        self.rows = about.num_rows
        if self.rows > size or self.rows != sum(counts) or min(counts, default=0) < 0:
            raise UserError(f"{printable(str(path))}: declares {self.rows:,} rows in {size:,} bytes")
        self._starts: NDArray[np.int64] = np.cumsum([0, *counts])

    def column(self, name: str) -> list[Any]:
        once: dict[Any, Any] = {}  # a name that a dictionary holds once is kept once
        with reading(self._path):
            return [
                once.setdefault(value, value)
                for batch in self._file.iter_batches(_LABELS_AT_ONCE, columns=[name])
                for value in batch.column(0).to_pylist()
            ]

    def cells(self, name: str, rows: Sequence[int]) -> Iterator[Any]:
        group, start = -1, 0
        batches: Iterator[Any] = iter(())
        batch: Any = None
        for row in rows:
            with reading(self._path):
                its = int(np.searchsorted(self._starts, row, side="right")) - 1
                if its != group or row < start:
                    group, start, batch = its, int(self._starts[its]), None
                    batches = self._file.iter_batches(_AT_ONCE, row_groups=[its], columns=[name])
                while batch is None or row >= start + batch.num_rows:
                    start += batch.num_rows if batch is not None else 0
                    batch = next(batches)
                value = batch.column(0)[row - start].as_py()
            yield value
