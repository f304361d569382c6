"""The bytes of a pickle, some at a time; every length is checked against the file first."""

import struct
from typing import IO, Any

from fiqa_core.shards.plain_pickle.values import PickleError

CHUNK = 1 << 18


class Source:
    """A part of a seekable stream, read forward.

    Args:
        at, size: where in the stream it lies (size None: up to the end).
    """

    def __init__(self, stream: IO[bytes], at: int = 0, size: int | None = None) -> None:
        self._stream = stream
        self._end = stream.seek(0, 2) if size is None else at + size
        self._data, self._base, self._at = b"", at, 0

    @property
    def place(self) -> int:
        """The byte of the file that is next."""
        return self._base + self._at

    def _need(self, count: int) -> int:
        """Have `count` bytes at hand; the index of the first in `_data`."""
        if self._at + count > len(self._data):
            place = self.place
            if place + count > self._end:
                raise PickleError(f"the file ends at byte {self._end}, before the pickle does", place, True)
            self._stream.seek(place)
            self._data = self._stream.read(min(max(count, CHUNK), self._end - place))
            self._base, self._at = place, 0
            if len(self._data) < count:
                raise PickleError(
                    f"the file ends at byte {place + len(self._data)}, before the pickle does", place, True
                )
        return self._at

    def _take(self, count: int) -> bytes:
        start = self._need(count)
        self._at = start + count
        return self._data[start : self._at]

    def _number(self, form: struct.Struct) -> Any:
        start = self._need(form.size)
        self._at = start + form.size
        return form.unpack_from(self._data, start)[0]

    def _line(self, most: int) -> bytes:
        """Up to the next line break, which is passed."""
        looked_at = 0
        while (stop := self._data.find(b"\n", self._at + looked_at)) < 0:
            looked_at = len(self._data) - self._at
            if looked_at > most:
                break
            self._need(min(max(CHUNK, 2 * looked_at), max(self._end - self.place, looked_at + 1)))
        if stop < 0 or stop - self._at > most:
            raise PickleError(f"at byte {self.place} a line of more than {most} bytes begins", self.place)
        line = self._data[self._at : stop]
        self._at = stop + 1
        return line

    def _go(self, at: int) -> None:
        """To a place of `_data`, or behind it."""
        self._at = at
        if at > len(self._data):
            self._base, self._at, self._data = self.place, 0, b""
