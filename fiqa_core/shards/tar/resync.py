"""Find the place behind damage in a tar where reading can go on.

A header is believed if it has magic, a fitting checksum, a known type, a name and a size, and if its member is followed
by another header, the end mark, or the archive's end. A tar stored inside a lost member would pass this test too. So if
the broken header still shows the size of its member (as it is, or with one bit flipped back), the whole member is
skipped, and inside a member that was read whole, only headers that lead out of it are believed.
"""

import re
from typing import IO

from fiqa_core.shards.tar.gzip_members import GunzipFile
from fiqa_core.shards.tar.header import (
    BLOCK,
    MAGIC,
    MAGIC_AT,
    believable,
    checksum_fits,
    padded,
    possible_sizes,
    stored_size,
)

_CHUNK = 128 << 10
_FORGOTTEN = 1 << 20  # bytes at once
_BEFORE = 8 * BLOCK  # bytes kept before a place, to see whether a long name was lost there
_AHEAD = 8 << 20  # a header is believed without a look at its member's end if that is farther away
_ZEROS = bytes(BLOCK)
_LONG_NAME = re.compile(rb"\d+ (?:path|size|GNU\.sparse\.\w+)=")
_EXTRA = b"xgLKX"


class Source:
    """An archive's bytes; some may be put back and read again."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        raw = getattr(stream, "raw", None)
        self._gunzip = raw if isinstance(raw, GunzipFile) else None
        self._back = memoryview(b"")
        self.truncated = False

    def read(self, size: int) -> bytes:
        """As a file's `read`: fewer bytes than asked for only at the end, and at damage of a gzip stream."""
        if not self._back:
            return self._stream.read(size)
        part = bytes(self._back[:size])
        self._back = self._back[len(part) :]
        return part if len(part) == size else part + self._stream.read(size - len(part))

    def put_back(self, data: bytes) -> None:
        """The next reads return these bytes again."""
        self._back = memoryview(data + bytes(self._back))

    @property
    def damaged(self) -> bool:
        """Whether the bytes end here only because the gzip stream is damaged."""
        return self._gunzip is not None and not self._back and self._gunzip.damaged

    def go_on(self) -> str | None:
        """The damage of the gzip stream at which its bytes end (None: there is none); later reads go on behind it."""
        reason = None if self._gunzip is None or self._back else self._gunzip.go_on()
        self.truncated = reason is not None and self._gunzip is not None and self._gunzip.truncated
        return reason


class _Window:
    """A part of the archive in memory, from byte `base` on; it grows on demand."""

    def __init__(self, source: Source, data: bytes, base: int) -> None:
        self.source, self.data, self.base = source, bytearray(data), base

    @property
    def end(self) -> int:
        return self.base + len(self.data)

    def grow(self) -> bool:
        """Read more; False at the end."""
        more = self.source.read(_CHUNK)
        self.data += more
        return bool(more)

    def block(self, at: int) -> bytes | None:
        """The 512 bytes at a place, fewer at the archive's end; None if the place is too far ahead to be read."""
        while self.end < at + BLOCK:
            if at > self.end + _AHEAD:
                return None
            if not self.grow():
                if self.source.damaged:
                    return None
                break
        start = at - self.base
        return bytes(self.data[start : start + BLOCK])

    def is_end(self, at: int) -> bool:
        """Whether the end mark is here, or the archive ends exactly here."""
        block = self.block(at)
        if block is None or (block and block != _ZEROS):
            return False
        return self.block(at + BLOCK) in (b"", _ZEROS) if block else self.end == at

    def ends_in_zeros(self, at: int) -> bool:
        """Whether two or more blocks of zeros, and nothing else, follow up to the archive's end."""
        rest = self.data[at - self.base :]
        return len(rest) >= 2 * BLOCK and not rest.strip(b"\0") and not self.source.damaged and not self.grow()

    def forget(self, before: int) -> None:
        """Drop the bytes before a place."""
        drop = before - _BEFORE - self.base
        if drop > _FORGOTTEN:
            del self.data[:drop]
            self.base += drop


class Resync:
    """The search for the next header behind one break.

    Args:
        head: bytes that were read already, from byte `base` of the archive on: the last member's content, as far as
            it was kept, and the bytes where a header should be.
        break_at: where that header should be (the end of `head` if the content itself breaks off).
        old: headers without magic are believed too, at 512-byte steps.
    """

    def __init__(self, source: Source, head: bytes, base: int, break_at: int, old: bool) -> None:
        self._window = _Window(source, head, base)
        self._base, self._break_at, self._old = base, break_at, old
        self._understood = 0  # bytes before this belong to headers that were read
        self._leads_nowhere: set[int] = set()  # headers that do not lead out of the last member
        self.reasons: list[str] = []

    def inside(self) -> int | None:
        """The first header in the last member's content that leads out of it: bytes of that member are missing."""
        at = self._base
        while True:
            found = self._window.data.find(MAGIC, at + MAGIC_AT - self._base, self._break_at - self._base)
            if found < 0:
                return None
            at = self._base + found - MAGIC_AT
            if self._leads_out(at):
                return at
            at += 1

    def behind(self, nameless: bool) -> int | None:
        """Where the archive goes on behind the break; None if no believable header follows.

        `nameless`: a header right at the break does not count, since its name is lost.
        """
        at = self._end_of_broken()
        if at is None:
            at = self._next_header(self._break_at)
        while at is not None and not ((at > self._break_at or not nameless) and self._trusted(at)):
            self._understood = at + BLOCK
            following = at + BLOCK + stored_size(self._window.block(at) or _ZEROS)
            at = following if self._continues(following) else self._next_header(at + 1)
        return at

    def finish(self, at: int) -> None:
        """Reading goes on from this place."""
        self._window.source.put_back(bytes(self._window.data[at - self._window.base :]))

    @property
    def end(self) -> int:
        """Bytes of the archive that were read."""
        return self._window.end

    def _leads_out(self, at: int) -> bool:
        """Whether a chain of headers leads from here to behind the break, or to the end mark of the whole archive."""
        while at < self._break_at:
            block = self._window.block(at)
            if at in self._leads_nowhere or block is None or not believable(block):
                return self._window.ends_in_zeros(at)
            self._leads_nowhere.add(at)
            at += BLOCK + stored_size(block)
        return self._continues(at)

    def _continues(self, at: int) -> bool:
        block = self._window.block(at)
        return block is not None and (believable(block) or self._window.is_end(at))

    def _end_of_broken(self) -> int | None:
        """The end of the member with the broken header, if that header still shows it."""
        header = self._window.block(self._break_at)
        if header and believable(header):
            return None
        for size in possible_sizes(header) if header and len(header) == BLOCK else []:
            at = self._break_at + BLOCK + padded(size)
            if size <= _AHEAD and self._continues(at):
                return at
        return None

    def _next_header(self, at: int) -> int | None:
        while True:
            self._window.forget(at)
            found = self._window.data.find(MAGIC, at + MAGIC_AT - self._window.base)
            place = self._window.base + found - MAGIC_AT if found >= 0 else self._window.end - BLOCK
            old = self._old_header(at, place)
            if old is not None:
                return old
            if found >= 0:
                if self._is_header(place):
                    return place
                at = place + 1
                continue
            at = max(at, self._window.end - BLOCK)
            if not self._window.grow():
                reason = self._window.source.go_on()
                if reason is None:
                    return None
                self.reasons.append(reason)

    def _is_header(self, at: int) -> bool:
        block = self._window.block(at)
        if block is None or not believable(block):
            return False
        following = at + BLOCK + stored_size(block)
        after = self._window.block(following)
        # The header behind it may be damaged too: its magic is enough.
        return after is None or after[MAGIC_AT : MAGIC_AT + 5] == MAGIC or self._window.is_end(following)

    def _old_header(self, start: int, stop: int) -> int | None:
        """A header without magic at a 512-byte step from the break, before `stop`."""
        if not self._old:
            return None
        first = start + (self._break_at - start) % BLOCK
        for at in range(first, stop, BLOCK):
            block = self._window.block(at)
            if block and len(block) == BLOCK and _old_header(block):
                after = self._window.block(at + BLOCK + stored_size(block))
                if after is None or not after.strip(b"\0") or checksum_fits(after):
                    return at
        return None

    def _trusted(self, at: int) -> bool:
        """Whether a header is complete: not if its long name or size was in a lost block."""
        block = self._window.block(at) or _ZEROS
        if block[:1] == b"\0" or block[156:157] in _EXTRA:
            return True
        if b"\0" not in block[:100]:
            return False
        start = at - self._window.base
        return (
            _LONG_NAME.search(self._window.data, max(0, start - _BEFORE, self._understood - self._window.base), start)
            is None
        )


def _old_header(block: bytes) -> bool:
    return block[:1] != b"\0" and block[156:157] in b"\x00012" and checksum_fits(block)
