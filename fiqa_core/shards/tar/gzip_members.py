"""Decompress consecutive gzip members, up to a damaged place, and go on where the next member begins.

Python's `gzip` raises instead of returning the bytes before the damage, and never reaches the members behind it.
Source: RFC 1952.
"""

import io
import zlib
from typing import IO

_READ = 64 << 10
_GZIP = 31  # zlib's number for gzip with header and checksum
_MEMBER = b"\x1f\x8b\x08"
_FLAGS_AT, _RESERVED_FLAGS = 3, 0xE0
_KEPT = 256 << 10  # compressed bytes of a member: the next one may begin in them, if damage hid that
_BELIEVED = 4096  # bytes that a member found behind damage must decompress without an error


class GunzipFile(io.RawIOBase):
    """The decompressed bytes. Damage looks like the end; `go_on` tells the two apart and enters the next member."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._compressed = b""
        self._seen = b""  # compressed bytes of the current member that were decompressed
        self._ready = b""  # decompressed bytes that were not read yet
        self._inflate = zlib.decompressobj(_GZIP)
        self._pending = False  # zlib may have more to give without more input
        self._begun = False
        self._damage: str | None = None
        self.truncated = False  # whether the last damage was an early end

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer) -> int:  # type: ignore[no-untyped-def]
        """Up to `len(buffer)` bytes; 0 at the end, and at damage."""
        while not self._ready and self._damage is None:
            if not self._step(len(buffer)):
                break
        part = self._ready[: len(buffer)]
        self._ready = self._ready[len(part) :]
        buffer[: len(part)] = part
        return len(part)

    @property
    def damaged(self) -> bool:
        """Whether the bytes seem to end here only because of damage."""
        return self._damage is not None

    def go_on(self) -> str | None:
        """The damage at which the bytes seemed to end; None at the true end. Later reads go on behind the damage."""
        damage, self._damage = self._damage, None
        if damage is not None:
            # The first byte begins the damaged member itself.
            self._compressed, self._seen = (self._seen + self._compressed)[1:], b""
            if not self._next_member():
                self._compressed = b""
        return damage

    def _step(self, most: int) -> bool:
        """Decompress a little more; False at the end and at damage."""
        if not self._compressed and not self._pending:
            self._compressed = self._stream.read(_READ)
            if not self._compressed:
                if self._begun:
                    self._break("the compressed archive ends too early", truncated=True)
                return False
        if not self._begun:
            # Zeros between members and behind the last one are padding.
            self._compressed = self._compressed.lstrip(b"\0")
            if not self._compressed:
                return True
            self._inflate, self._begun, self._seen = zlib.decompressobj(_GZIP), True, b""
        before = self._inflate.copy()
        try:
            self._ready = self._inflate.decompress(self._compressed, most)
        except zlib.error as error:
            self._ready = _up_to_damage(before, self._compressed)
            self._break(f"the compressed archive is damaged ({error})", truncated=False)
            return bool(self._ready)
        if self._inflate.eof:
            self._compressed, self._begun, self._pending = self._inflate.unused_data, False, False
        else:
            left = self._inflate.unconsumed_tail
            self._seen = (self._seen + self._compressed[: len(self._compressed) - len(left)])[-_KEPT:]
            self._compressed, self._pending = left, len(self._ready) == most
        return True

    def _break(self, reason: str, truncated: bool) -> None:
        self._damage, self.truncated = reason, truncated
        self._begun = self._pending = False

    def _next_member(self) -> bool:
        """Find the next believable member; False if there is none."""
        while True:
            place = self._compressed.find(_MEMBER)
            if place < 0:
                more = self._stream.read(_READ)
                if not more:
                    return False
                self._compressed = self._compressed[-len(_MEMBER) + 1 :] + more
                continue
            if len(self._compressed) < place + _READ // 2:
                self._compressed += self._stream.read(_READ)
            if _is_member(self._compressed[place : place + _READ]):
                self._compressed = self._compressed[place:]
                return True
            self._compressed = self._compressed[place + 1 :]


def _up_to_damage(inflate: "zlib._Decompress", data: bytes) -> bytes:
    """The bytes before the one at which decompressing fails."""
    found, place, step = [], 0, 1024
    while place < len(data) and not inflate.eof:
        before = inflate.copy()
        try:
            found.append(inflate.decompress(data[place : place + step]))
        except zlib.error:
            if step == 1:
                break
            inflate, step = before, 32 if step == 1024 else 1
            continue
        place += step
    return b"".join(found)


def _is_member(data: bytes) -> bool:
    if len(data) <= _FLAGS_AT or data[_FLAGS_AT] & _RESERVED_FLAGS:
        return False
    inflate = zlib.decompressobj(_GZIP)
    try:
        found = inflate.decompress(data, _BELIEVED)
    except zlib.error:
        return False
    return inflate.eof or len(found) == _BELIEVED
