"""Tables of a flatbuffer, in which Arrow describes its messages; every access is checked against the buffer.

Source: the FlatBuffers internals page. A table begins with the distance back to its list of field offsets; a field that
is not set has offset 0.
"""

import struct

from fiqa_core.errors import FiqaError


class FlatbufferError(FiqaError, ValueError):
    """An offset leads out of the buffer."""


class Table:
    """A table at a place of a buffer."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data, self._at = data, at
        self._fields = at - self._number("<i", at)
        self._size = self._number("<H", self._fields)

    @classmethod
    def root(cls, data: bytes) -> "Table":
        """The table that the buffer is of."""
        return cls(data, _unpacked("<I", data, 0))

    def scalar(self, slot: int, kind: str) -> int:
        """A number (a format of `struct`); 0 if it is not set."""
        at = self._field(slot)
        return self._number(kind, at) if at else 0

    def table(self, slot: int) -> "Table | None":
        """A table within this one."""
        at = self._field(slot)
        return Table(self._data, at + self._number("<I", at)) if at else None

    def structs(self, slot: int, kind: str) -> list[tuple[int, ...]]:
        """A vector of structs (a format of `struct`)."""
        at = self._field(slot)
        if not at:
            return []
        at += self._number("<I", at)
        count, size = self._number("<I", at), struct.calcsize(kind)
        if at + 4 + count * size > len(self._data):
            raise FlatbufferError(f"a list of {count} entries is longer than its message")
        return list(struct.iter_unpack(kind, self._data[at + 4 : at + 4 + count * size]))

    def has(self, slot: int) -> bool:
        """Whether a field is set."""
        return self._field(slot) > 0

    def _field(self, slot: int) -> int:
        entry = 4 + 2 * slot
        if entry + 2 > self._size:
            return 0
        offset = self._number("<H", self._fields + entry)
        return self._at + offset if offset else 0

    def _number(self, kind: str, at: int) -> int:
        return _unpacked(kind, self._data, at)


def _unpacked(kind: str, data: bytes, at: int) -> int:
    if not 0 <= at <= len(data) - struct.calcsize(kind):
        raise FlatbufferError(f"place {at} is not in its message of {len(data)} bytes")
    number: int = struct.unpack_from(kind, data, at)[0]
    return number
