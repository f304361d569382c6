"""Messages of an Arrow stream or file: the schema, and where each batch of rows lies; no row is read.

Source: the Arrow columnar format, "Serialization and Interprocess Communication". A message is `ff ff ff ff`, the size
of its description, the description (a flatbuffer), and its body. A file is a stream between two marks, and a footer
behind it, which is not needed here.
"""

from collections.abc import Iterator
from typing import IO, NamedTuple

import pyarrow as pa

from fiqa_core.errors import FiqaError
from fiqa_core.shards.arrow_ipc.flatbuffer import FlatbufferError, Table

_MARK = b"\xff\xff\xff\xff"
_FILE_MAGIC = b"ARROW1\0\0"
_MOST_DESCRIPTION = 64 << 20
_SCHEMA, _DICTIONARY, _BATCH = 1, 2, 3
_CHUNK = 1 << 20
_LEAST_ROW_BYTES = 4  # an image takes an offset at least


class ArrowError(FiqaError, ValueError):
    """The file is not one of Arrow, or its schema is damaged."""


class Batch(NamedTuple):
    """A batch of rows.

    Attributes:
        at, body, end: bytes of the file where the message, its body and the next message begin.
        rows: number of rows. nodes: (rows, nulls) of each array, depth first; buffers: (offset in the body, bytes).
        variadic: further buffers of each array of views. compressed: the buffers are.
    """

    at: int
    body: int
    end: int
    rows: int
    nodes: list[tuple[int, ...]]
    buffers: list[tuple[int, ...]]
    variadic: list[int]
    compressed: bool


class Lost(NamedTuple):
    """Bytes that hold no message that can be read. `end` is None where no message follows."""

    at: int
    end: int | None
    truncated: bool


class _Message(NamedTuple):
    kind: int
    header: Table | None
    body: int
    end: int
    raw: bytes


def read_schema(stream: IO[bytes]) -> tuple[pa.Schema, int]:
    """The schema, and the byte behind it.

    Raises:
        ArrowError: the file does not begin with one.
    """
    stream.seek(0)
    at = len(_FILE_MAGIC) if stream.read(len(_FILE_MAGIC)) == _FILE_MAGIC else 0
    try:
        message = _message(stream, at)
        if message is None or message.kind != _SCHEMA:
            raise ArrowError("it does not begin with an Arrow schema. Expected a file of `save_to_disk`.")
        return pa.ipc.read_schema(pa.py_buffer(message.raw)), message.end
    except (FlatbufferError, pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ArrowError(f"its schema is damaged ({' '.join(str(error).split())[:300]})") from error


def batches(stream: IO[bytes], schema: pa.Schema, start: int) -> Iterator[Batch | Lost]:
    """Batches and lost stretches from a byte on.

    Args:
        schema: of the file; without a dictionary in it, a message that claims to be one is a damaged batch.
    """
    coded = any(_is_coded(field.type) for field in schema)
    size = stream.seek(0, 2)
    at = start
    while at < size:
        found, ended = _next(stream, at, size)
        if ended and _search(stream, at + 1, size) is None:
            return  # zeros in the middle are no end
        if found is None or (found.kind == _DICTIONARY and not coded):
            behind = _search(stream, at + 1, size)
            yield Lost(at, behind, behind is None)
            if behind is None:
                return
            at = behind
        elif found.kind != _BATCH or found.header is None:
            at = found.end  # of a dictionary; columns that need one are refused
        else:
            batch = _batch(at, found, size)
            follows = found.end == size or (found.end < size and _next(stream, found.end, size) != (None, False))
            if not follows:
                # Its length may be what is damaged: no message that begins within it must be lost.
                batch = batch._replace(end=_search(stream, found.body, min(found.end, size)) or found.end)
            yield batch
            at = batch.end
    yield Lost(size, None, True)


def _is_coded(kind: pa.DataType) -> bool:
    return pa.types.is_dictionary(kind) or any(_is_coded(kind.field(n).type) for n in range(kind.num_fields))


def _next(stream: IO[bytes], at: int, size: int) -> tuple[_Message | None, bool]:
    """The message at a place (None: none is), and whether the stream ends here."""
    stream.seek(at)
    beginning = stream.read(8)
    if beginning in (_MARK + bytes(4), bytes(4), bytes(8)):
        return None, True
    try:
        message = _message(stream, at)
        if message is None or message.end - message.body < 0:
            return None, False
        if message.kind == _BATCH and message.header is not None:
            _batch(at, message, size)
        return (message if message.kind in (_DICTIONARY, _BATCH) else None), False
    except FlatbufferError:
        return None, False


def _message(stream: IO[bytes], at: int) -> _Message | None:
    """The message that begins at a place; None if none does.

    Raises:
        FlatbufferError: its description is damaged.
    """
    stream.seek(at)
    beginning = stream.read(8)
    # Before Arrow 0.15 there was no mark.
    length = int.from_bytes(beginning[4:8] if beginning.startswith(_MARK) else beginning[:4], "little")
    head = 8 if beginning.startswith(_MARK) else 4
    if len(beginning) < 8 or not 8 <= length <= _MOST_DESCRIPTION:
        return None
    stream.seek(at + head)
    description = stream.read(length)
    if len(description) < length:
        return None
    table = Table.root(description)
    body = at + head + length
    raw = _MARK + length.to_bytes(4, "little") + description
    return _Message(table.scalar(1, "<B"), table.table(2), body, body + table.scalar(3, "<q"), raw)


def _batch(at: int, message: _Message, size: int) -> Batch:
    assert message.header is not None
    header = message.header
    rows = header.scalar(0, "<q")
    if not 0 <= rows * _LEAST_ROW_BYTES <= max(0, size - message.body):
        raise FlatbufferError(f"a batch claims {rows} rows, more than the file has bytes for")
    nodes, buffers = header.structs(1, "<qq"), header.structs(2, "<qq")
    if nodes and nodes[0][0] != rows:
        raise FlatbufferError(f"a batch claims {rows} rows, but its first column {nodes[0][0]}")
    variadic = [count for (count,) in header.structs(4, "<q")]
    return Batch(at, message.body, message.end, rows, nodes, buffers, variadic, header.has(3))


def _search(stream: IO[bytes], at: int, end: int) -> int | None:
    """The next place from `at` on where a batch begins."""
    kept = b""
    while at < end:
        stream.seek(at)
        data = kept + stream.read(_CHUNK)
        base, place = at - len(kept), -1
        while (place := data.find(_MARK, place + 1)) >= 0:
            if base + place >= end:
                return None
            found, _ = _next(stream, base + place, stream.seek(0, 2))
            if found is not None:
                return base + place
        at += _CHUNK
        kept = data[-3:]
    return None
