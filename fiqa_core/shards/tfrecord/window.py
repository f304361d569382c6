"""Bytes of a stream around the place that is read: a file that can be sought in, or what a gzip stream gives."""

import os
from typing import IO

import google_crc32c

from fiqa_core.shards.tar.gzip_members import GunzipFile
from fiqa_core.shards.tfrecord.framing import HEADER

CHUNK = 1 << 20
_ENOUGH = 1 << 18


class Window:
    """Reads at any place of a file; of a gzip stream, only forward from the place where the last read began.

    Args:
        stream: whose reads return fewer bytes than asked for only at the end (or at damage of a gzip stream).
        size: bytes of the file, None where that is not known (gzip).
        gunzip: what decompresses the stream, if it is a gzip stream.
        chunk: least bytes that are read at once.
    """

    def __init__(
        self, stream: IO[bytes], size: int | None, gunzip: GunzipFile | None = None, chunk: int = CHUNK
    ) -> None:
        self._stream, self.size, self._gunzip, self._chunk = stream, size, gunzip, chunk
        self._data, self._base = b"", 0

    def header(self, at: int) -> bytes:
        """The 12 bytes at a place of a local file, past what is held."""
        return os.pread(self._stream.fileno(), HEADER.size, at)

    def take(self, at: int, count: int) -> bytes:
        """The `count` bytes from place `at` on; fewer where the bytes end."""
        start = at - self._base
        stop = start + count
        if start >= 0 and stop <= len(self._data):
            return self._data[start:stop]
        if not 0 <= start <= len(self._data):
            self._move(at)
            start = at - self._base
        kept = self._data[start:]
        more = self._stream.read(max(self._chunk, count - len(kept)))
        self._data = kept + more if kept else more
        self._base = at
        return self._data[:count]

    def ahead(self, at: int) -> tuple[bytes, int]:
        """What is held, and where in it place `at` is: a quarter of a megabyte or more follow, less where the bytes
        end."""
        if not self._base <= at <= self.end - _ENOUGH:
            self.take(at, max(0, self.end - at) + CHUNK)
        return self._data, at - self._base

    @property
    def end(self) -> int:
        """The place up to which bytes are read."""
        return self._base + len(self._data)

    def put_back(self, at: int, data: bytes) -> None:
        """Have bytes that were taken at place `at`, up to where the window begins now, read again."""
        if at < self._base <= at + len(data):
            self._data = data[: self._base - at] + self._data
            self._base = at

    def crc(self, at: int, count: int) -> int | None:
        """The CRC-32C of bytes that are not held; None where they end too early."""
        crc = 0
        for begin in range(at, at + count, CHUNK):
            wanted = min(CHUNK, at + count - begin)
            piece = self.take(begin, wanted)
            if len(piece) < wanted:
                return None
            crc = google_crc32c.extend(crc, piece)
        return crc

    def go_on(self) -> str | None:
        """What is wrong with the gzip stream where its bytes end (None: nothing); reads go on behind that."""
        return None if self._gunzip is None else self._gunzip.go_on()

    @property
    def truncated(self) -> bool:
        """Whether the last damage of the gzip stream was an early end."""
        return self._gunzip is None or self._gunzip.truncated

    def _move(self, at: int) -> None:
        if self._gunzip is None:
            self._stream.seek(at)
            self._data, self._base = b"", at
            return
        place = self.end
        if at < self._base:
            raise ValueError(f"a gzip stream is read forward: place {at} is wanted, {self._base} is the first at hand")
        while place < at:
            piece = self._stream.read(min(CHUNK, at - place))
            if not piece:
                break
            place += len(piece)
        self._data, self._base = b"", at
