"""Rows of a batch, some at a time: of each wanted column only the bytes of these rows are read, and they are checked.

Arrow's own reader takes a batch as a whole and believes its offsets; a batch of `datasets` has a thousand images.
"""

import hashlib
from collections.abc import Iterator, Sequence
from typing import IO, Any, NamedTuple

import numpy as np
import pyarrow as pa

from fiqa_core.errors import FiqaError
from fiqa_core.shards.arrow_ipc.messages import Batch

_WINDOW_BYTES = 4 << 20
_MOST_ROWS = 1024
_MOST_BYTES = 256 << 20  # of values that are held at a time


class BadRowsError(FiqaError, ValueError):
    """The buffers of a column cannot be what their type says."""


class UnreadTypeError(FiqaError, ValueError):
    """A type whose buffers are not known here."""


class _Place(NamedTuple):
    """Where the array of a field lies in its batch: its node, its first buffer, and its children's places."""

    node: int
    buffer: int
    children: list["_Place"]


class BatchRows:
    """Reads rows of one batch.

    Args:
        stream: the file. schema: of the file. wanted: names of the columns to read.

    Raises:
        BadRowsError: the batch has not the arrays of the schema. UnreadTypeError: a type is not known here.
    """

    def __init__(self, stream: IO[bytes], batch: Batch, schema: pa.Schema, wanted: Sequence[str]) -> None:
        self._stream, self._batch = stream, batch
        self.batch = batch
        if batch.compressed:
            raise UnreadTypeError("its batches are compressed; write it without compression")
        layout = _Layout(batch)
        places = [layout.of(field.type) for field in schema]
        self._fields = [(schema.field(name), places[schema.get_field_index(name)]) for name in wanted]

    def windows(self, first: int, image: str) -> Iterator[tuple[int, int, int]]:
        """Rows (from, to, bytes of their images) from row `first` on, so few that these are 4 MB, or one image."""
        kind, place = self._image(image)
        rows = self._batch.rows
        while first < rows:
            stop, size = min(first + _MOST_ROWS, rows), 0
            try:
                offsets = self._offsets(place.buffer + 1, kind, first, stop)
            except BadRowsError:
                # Reading them one by one shows which are damaged.
                pass
            else:
                fit = int(np.searchsorted(offsets - offsets[0], _WINDOW_BYTES, side="right")) - 1
                stop = first + min(stop - first, max(1, fit))
                size = int(offsets[stop - first] - offsets[0])
            yield first, stop, size
            first = stop

    def read(self, first: int, stop: int, without: str = "") -> pa.RecordBatch:
        """Rows `first` to `stop` of the wanted columns; the column `without` as nulls.

        Raises:
            BadRowsError: their buffers are damaged.
        """
        arrays = [
            pa.nulls(stop - first, field.type) if field.name == without else self._array(field.type, place, first, stop)
            for field, place in self._fields
        ]
        batch = pa.RecordBatch.from_arrays(arrays, names=[field.name for field, _ in self._fields])
        try:
            batch.validate(full=False)
        except pa.ArrowInvalid as error:
            raise BadRowsError(str(error)) from error
        return batch

    def digest(self, row: int, image: str) -> bytes:
        """The sha256 of one image, which is not kept."""
        kind, place = self._image(image)
        first, last = map(int, self._offsets(place.buffer + 1, kind, row, row + 1))
        digest = hashlib.sha256()
        for at in range(first, last, _WINDOW_BYTES):
            digest.update(self._bytes(place.buffer + 2, at, min(at + _WINDOW_BYTES, last)))
        return digest.digest()

    def _image(self, name: str) -> tuple[pa.DataType, _Place]:
        """Type and place of the array of the images' bytes."""
        field, place = next(each for each in self._fields if each[0].name == name)
        kind = _storage(field.type)
        if pa.types.is_struct(kind):
            number = kind.get_field_index("bytes")
            return _storage(kind.field(number).type), place.children[number]
        return kind, place

    def _array(self, kind: pa.DataType, place: _Place, first: int, stop: int) -> pa.Array:
        kind = _storage(kind)
        count = stop - first
        if pa.types.is_null(kind):
            return pa.nulls(count, kind)
        valid, shift = self._bits(place.buffer, first, stop)
        if pa.types.is_struct(kind):
            children = [
                self._array(kind.field(number).type, child, first, stop) for number, child in enumerate(place.children)
            ]
            # Children begin at the first row, bits at the byte that holds it.
            bits = _shifted(valid, shift, count)
            return pa.Array.from_buffers(kind, count, [bits], -1 if bits is not None else 0, 0, children)
        bits = _shifted(valid, shift, count)
        if _is_binary(kind):
            offsets = self._offsets(place.buffer + 1, kind, first, stop)
            if offsets[-1] - offsets[0] > _MOST_BYTES:
                raise BadRowsError(f"{stop - first} values have {offsets[-1] - offsets[0]} bytes")
            data = self._bytes(place.buffer + 2, int(offsets[0]), int(offsets[-1]))
            moved = (offsets - offsets[0]).astype(offsets.dtype)
            return pa.Array.from_buffers(kind, count, [bits, pa.py_buffer(moved), pa.py_buffer(data)], -1)
        if pa.types.is_boolean(kind):
            values, value_shift = self._bits(place.buffer + 1, first, stop)
            return pa.Array.from_buffers(kind, count, [bits, _shifted(values, value_shift, count)], -1)
        if pa.types.is_dictionary(kind) or not _is_fixed(kind):
            raise UnreadTypeError(f"values of type {kind} are not read from Arrow files; write them as text or numbers")
        width = kind.bit_width // 8
        data = self._bytes(place.buffer + 1, first * width, stop * width)
        return pa.Array.from_buffers(kind, count, [bits, pa.py_buffer(data)], -1)

    def _offsets(self, buffer: int, kind: pa.DataType, first: int, stop: int) -> np.ndarray:
        width = 8 if kind in (pa.large_binary(), pa.large_string()) else 4
        data = self._bytes(buffer, first * width, (stop + 1) * width)
        offsets = np.frombuffer(data, np.dtype(f"<i{width}"))
        if offsets[0] < 0 or (offsets[1:] < offsets[:-1]).any() or offsets[-1] > self._batch.buffers[buffer + 1][1]:
            raise BadRowsError("the places of its values are damaged")
        return offsets

    def _bits(self, buffer: int, first: int, stop: int) -> tuple[bytes | None, int]:
        """The bytes that hold one bit for each row, and the first row's bit; None where there are no such bytes."""
        if self._batch.buffers[buffer][1] == 0:
            return None, 0
        return self._bytes(buffer, first // 8, (stop + 7) // 8), first % 8

    def _bytes(self, buffer: int, start: int, stop: int) -> bytes:
        at, size = self._batch.buffers[buffer]
        if not (0 <= start <= stop <= size and 0 <= at <= self._batch.end - self._batch.body - size):
            raise BadRowsError(f"bytes {start} to {stop} of a buffer of {size} are needed")
        if start == stop:
            return b""
        self._stream.seek(self._batch.body + at + start)
        data = self._stream.read(stop - start)
        if len(data) < stop - start:
            raise BadRowsError("the file ends before the values of this batch do")
        return data


class _Layout:
    """Gives each field of a schema its node and buffers of a batch, in the order of the format."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._node = self._buffer = self._views = 0

    def of(self, kind: pa.DataType) -> _Place:
        kind = _storage(kind)
        node, buffer = self._node, self._buffer
        if node >= len(self._batch.nodes) or self._batch.nodes[node][0] < 0:
            raise BadRowsError("it has fewer arrays than its schema names")
        self._node += 1
        self._buffer += self._count(kind)
        children = [self.of(child) for child in _children(kind)]
        if self._buffer > len(self._batch.buffers):
            raise BadRowsError("it has fewer buffers than its schema needs")
        return _Place(node, buffer, children)

    def _count(self, kind: pa.DataType) -> int:
        types = pa.types
        if types.is_null(kind) or types.is_run_end_encoded(kind):
            return 0
        if types.is_struct(kind) or types.is_fixed_size_list(kind):
            return 1
        if _is_binary(kind) or types.is_list_view(kind) or types.is_large_list_view(kind):
            return 3
        if kind in (pa.binary_view(), pa.string_view()):
            self._views += 1
            return 2 + (self._batch.variadic[self._views - 1] if self._views <= len(self._batch.variadic) else 0)
        if types.is_union(kind):
            return 1 if kind.mode == "sparse" else 2
        return 2


def _children(kind: pa.DataType) -> list[pa.DataType]:
    if pa.types.is_dictionary(kind):
        return []
    return [_field_type(kind, number) for number in range(kind.num_fields)]


def _field_type(kind: Any, number: int) -> pa.DataType:
    return kind.field(number).type


def _storage(kind: pa.DataType) -> pa.DataType:
    return _storage(kind.storage_type) if isinstance(kind, pa.BaseExtensionType) else kind


def _is_binary(kind: pa.DataType) -> bool:
    return kind in (pa.binary(), pa.large_binary(), pa.string(), pa.large_string())


def _is_fixed(kind: pa.DataType) -> bool:
    try:
        return bool(kind.bit_width % 8 == 0 and kind.num_fields == 0)
    except ValueError:
        return False


def _shifted(bits: bytes | None, shift: int, count: int) -> pa.Buffer | None:
    """Bits from `shift` on, as a buffer that begins with the first."""
    if bits is None:
        return None
    if not shift:
        return pa.py_buffer(bits)
    unpacked = np.unpackbits(np.frombuffer(bits, np.uint8), bitorder="little")[shift : shift + count]
    return pa.py_buffer(np.packbits(unpacked, bitorder="little"))
