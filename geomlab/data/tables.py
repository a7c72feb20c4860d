"""Arrow and Parquet files read by rows, in place: nothing of them is converted, copied to a cache or decoded."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geomlab.data.arrow_streams import is_compressed, start_of
from geomlab.data.places import printable
from geomlab.errors import UserError

SUFFIXES = (".arrow", ".parquet")
_AT_ONCE = 8  # rows: a value that a dictionary holds once may be large, and each row repeats it
_LABELS_AT_ONCE = 256
UNPACKED = 100  # times its size, that a column may unpack to: ours
_SMALL = 1 << 24  # bytes that any may


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
        start = start_of(source)
        source.seek(start)
        for message in _messages(pyarrow.ipc.MessageReader.open_stream(source)):
            if is_compressed(message.type, message.metadata.to_pybytes()):
                raise UserError(
                    f"{printable(str(path))}: is compressed; write it uncompressed, or as Parquet"
                )
        source.seek(start)
        self._table = pyarrow.ipc.open_stream(source).read_all()
        self.schema, self.rows = self._table.schema, self._table.num_rows
        _check_rows(path, self.rows)
        self._valid: set[str] = set()

    def column(self, name: str) -> list[Any]:
        with reading(self._path):
            column = self._validated(name)
            parts = (column.slice(at, _LABELS_AT_ONCE) for at in range(0, self.rows, _LABELS_AT_ONCE))
            return _listed(parts)

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
        about = self._file.metadata
        counts = [about.row_group(i).num_rows for i in range(about.num_row_groups)]
        self.rows = about.num_rows
        _check_unpacked(path, about)
        _check_rows(path, self.rows if min(counts, default=0) >= 0 and sum(counts) == self.rows else -1)
        self._starts: NDArray[np.int64] = np.cumsum([0, *counts])

    def column(self, name: str) -> list[Any]:
        with reading(self._path):
            batches = self._file.iter_batches(_LABELS_AT_ONCE, columns=[name])
            return _listed(batch.column(0) for batch in batches)

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


def _check_unpacked(path: Path, about: Any) -> None:
    """Refuse a column that says that it unpacks to far more than it is: images are compressed already."""
    columns = (
        about.row_group(i).column(j) for i in range(about.num_row_groups) for j in range(about.num_columns)
    )
    for column in columns:
        packed, unpacked = column.total_compressed_size, column.total_uncompressed_size
        if unpacked > UNPACKED * max(packed, 0) + _SMALL:
            raise UserError(
                f"{printable(str(path))}: {printable(column.path_in_schema)} unpacks from {packed:,} bytes to "
                f"{unpacked:,}; write it without compression"
            )


def _check_rows(path: Path, rows: int) -> None:
    size = path.stat().st_size
    if not 0 <= rows <= size:  # each has an image
        raise UserError(f"{printable(str(path))}: declares {rows:,} rows in {size:,} bytes; fetch it again")


def _listed(parts: Iterable[Any]) -> list[Any]:
    """Values of arrays; one that a dictionary holds once is kept once."""
    once: dict[Any, Any] = {}
    return [once.setdefault(value, value) for part in parts for value in part.to_pylist()]


def _messages(reader: Any) -> Iterator[Any]:
    with suppress(StopIteration):
        while True:
            yield reader.read_next_message()
