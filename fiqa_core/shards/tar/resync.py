"""Find the place behind a damaged stretch of a tar where it can be followed again.

A header is believed if it has magic, a fitting checksum, a known type, a name and a size, and if its member is followed
by another header, the end mark, or the archive's end. That cannot tell a tar that is stored in a lost member from
the archive itself: so where the broken header still tells the size of its member (as it is, or with one bit turned
back), the member is passed over whole, and inside a member that was read whole only such headers are believed as lead
out of it.
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
_BEFORE = 8 * BLOCK  # kept of what lies before a place, to see whether a long name was lost there
_AHEAD = 8 << 20  # where the end of its member is farther away, a header is believed without a look there
_ZEROS = bytes(BLOCK)
_LONG_NAME = re.compile(rb"\d+ (?:path|size|GNU\.sparse\.\w+)=")
_EXTRA = b"xgLKX"


class Source:
    """An archive's bytes, of which some may be put back."""

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
        """Have bytes read again."""
        self._back = memoryview(data + bytes(self._back))

    @property
    def damaged(self) -> bool:
        """Whether the bytes end here only because the gzip stream is damaged."""
        return self._gunzip is not None and not self._back and self._gunzip.damaged

    def go_on(self) -> str | None:
        """What is wrong with the gzip stream where its bytes end (None: nothing); go on behind that."""
        reason = None if self._gunzip is None or self._back else self._gunzip.go_on()
        self.truncated = reason is not None and self._gunzip is not None and self._gunzip.truncated
        return reason


class _Window:
    """A part of the archive in memory, from byte `base` on; it grows as it is looked at."""

    def __init__(self, source: Source, data: bytes, base: int) -> None:
        self.source, self.data, self.base = source, bytearray(data), base

    @property
    def end(self) -> int:
        return self.base + len(self.data)

    def grow(self) -> bool:
        """Read on; False where the bytes end."""
        more = self.source.read(_CHUNK)
        self.data += more
        return bool(more)

    def block(self, at: int) -> bytes | None:
        """The 512 bytes at a place, fewer where the archive ends; None where that is too far away to be seen."""
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
        """Whether the end mark stands here, or the archive ends exactly here."""
        block = self.block(at)
        if block is None or (block and block != _ZEROS):
            return False
        return self.block(at + BLOCK) in (b"", _ZEROS) if block else self.end == at

    def ends_in_zeros(self, at: int) -> bool:
        """Whether there is nothing but zeros, two blocks or more, from here to the archive's end, all of it seen."""
        rest = self.data[at - self.base :]
        return len(rest) >= 2 * BLOCK and not rest.strip(b"\0") and not self.source.damaged and not self.grow()

    def forget(self, before: int) -> None:
        """Let go of what lies before a place."""
        drop = before - _BEFORE - self.base
        if drop > _FORGOTTEN:
            del self.data[:drop]
            self.base += drop


class Resync:
    """The search behind one break.

    Args:
        head: bytes that were read already, from byte `base` of the archive on: the last member's content, as far as
            it is at hand, and what stands where a header should.
        break_at: where that header should be (the end of `head` where the content itself breaks off).
        old: headers without magic are believed, at 512-byte steps.
    """

    def __init__(self, source: Source, head: bytes, base: int, break_at: int, old: bool) -> None:
        self._window = _Window(source, head, base)
        self._base, self._break_at, self._old = base, break_at, old
        self._understood = 0  # what lies before says nothing of later headers
        self._astray: set[int] = set()  # headers that do not lead out of the last member
        self.reasons: list[str] = []

    def inside(self) -> int | None:
        """The first header in the last member's content that leads out of it: bytes of that member are gone."""
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
        """Where the archive goes on behind the break; None where nothing can be believed up to its end.

        `nameless`: a header right at the break is not enough, as its name is lost.
        """
        at = self._passed_over()
        if at is None:
            at = self._searched(self._break_at)
        while at is not None and not ((at > self._break_at or not nameless) and self._trusted(at)):
            self._understood = at + BLOCK
            following = at + BLOCK + stored_size(self._window.block(at) or _ZEROS)
            at = following if self._goes_on(following) else self._searched(at + 1)
        return at

    def finish(self, at: int) -> None:
        """Have the archive read on from this place."""
        self._window.source.put_back(bytes(self._window.data[at - self._window.base :]))

    @property
    def end(self) -> int:
        """Bytes of the archive that were seen."""
        return self._window.end

    def _leads_out(self, at: int) -> bool:
        """Whether headers follow on one another from here to behind the break, or to an end mark that is the last
        of the whole archive."""
        while at < self._break_at:
            block = self._window.block(at)
            if at in self._astray or block is None or not believable(block):
                return self._window.ends_in_zeros(at)
            self._astray.add(at)
            at += BLOCK + stored_size(block)
        return self._goes_on(at)

    def _goes_on(self, at: int) -> bool:
        block = self._window.block(at)
        return block is not None and (believable(block) or self._window.is_end(at))

    def _passed_over(self) -> int | None:
        """The end of the member whose header is broken, where that header still tells it."""
        header = self._window.block(self._break_at)
        if header and believable(header):
            return None
        for size in possible_sizes(header) if header and len(header) == BLOCK else []:
            at = self._break_at + BLOCK + padded(size)
            if size <= _AHEAD and self._goes_on(at):
                return at
        return None

    def _searched(self, at: int) -> int | None:
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
        # One damaged header may follow on another: magic is enough there.
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
        """Whether a header can stand alone: not where its long name or size stood in a block that is lost."""
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
