"""Arrow's stream of messages: where it begins, and whether a message is compressed, before any is decompressed.

The library decompresses what it reads and has no limit; of what a message says it shows its kind alone. So three fields
are read here as the format's description lays them out: Message.header, DictionaryBatch.data, RecordBatch.compression
(Apache Arrow, format/Message.fbs; flatbuffers, "Internals").
"""

import struct
from typing import Any

_MAGIC = b"ARROW1"  # of the file form: the stream follows it, padded to 8 bytes


def start_of(source: Any) -> int:
    """Where the stream begins in an open file: of its two forms one has 8 bytes before it."""
    source.seek(0)
    return 8 if source.read(len(_MAGIC)) == _MAGIC else 0


def is_compressed(kind: str, metadata: bytes) -> bool:
    """Whether a message's buffers are compressed.

    Args:
        kind: of the message, as pyarrow names it.
        metadata: its flatbuffer.

    Raises:
        struct.error: if an offset in it leads out of it.
    """
    if kind == "schema":
        return False
    header = _follow(metadata, _field(metadata, _follow(metadata, 0), 2))
    batch = header if kind == "record batch" else _follow(metadata, _field(metadata, header, 1))
    return _field(metadata, batch, 3) != 0


def _field(data: bytes, table: int, number: int) -> int:
    """Where a field of a table lies, 0 where it has none."""
    layout = table - _int(data, table, "<i")
    at = 4 + 2 * number
    offset = _int(data, layout + at, "<H") if at < _int(data, layout, "<H") else 0
    return table + offset if offset else 0


def _follow(data: bytes, at: int) -> int:
    return at + _int(data, at, "<I")


def _int(data: bytes, at: int, kind: str) -> int:
    if at < 0:  # which would count from the end
        raise struct.error("an offset before the beginning")
    return int(struct.unpack_from(kind, data, at)[0])
