"""Where the records of a `.rec` file begin, decided from the bytes around a place alone.

Writers split a record where the magic number lies in it at a multiple of 4 from the record's start, so in an undamaged
file it stands at such places only before parts. A record is *believable* if a part begins there that fits into the
file, that is followed by another part (or the file's end) or visibly holds an image, and in which no other such part
begins. Behind inserted or removed bytes, records may begin at any byte, so every byte is tried. The decision does not
depend on where reading began, so all workers agree on every record.
"""

from collections.abc import Iterator
from typing import IO, NamedTuple

from fiqa_core.shards.recordio.format import (
    FIRST,
    IMAGE_HEADER,
    LABEL,
    LAST,
    MAGIC_BYTES,
    MIDDLE,
    PART_HEADER,
    WHOLE,
    Part,
    parse_image_header,
    parse_part,
    read_at,
)
from fiqa_core.wording import counted

_CHUNK = 1 << 20
_LOOK_BACK = 64 << 20  # how far back a record is searched that may contain one at an odd place
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF", b"GIF8")


class Extent(NamedTuple):
    """A record: `size` bytes of payload from byte `at`, the last of them before `stop`; the next one begins at `end`.
    `whole`: no part is missing."""

    at: int
    size: int
    stop: int
    end: int
    whole: bool


class RecordFile:
    """A seekable `.rec` stream; at most a megabyte of it is held, whatever its length fields say."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.size = stream.seek(0, 2)

    def part(self, at: int) -> Part | None:
        """The part that begins at byte `at` and fits into the file."""
        part = parse_part(read_at(self._stream, at, PART_HEADER.size), at)
        return part if part is not None and part.stop <= self.size else None

    def believable(self, at: int) -> bool:
        """Whether a record begins at byte `at`."""
        part = self.part(at)
        return part is not None and part.kind in (WHOLE, FIRST) and self._sound(part)

    def next_record(self, at: int, stop: int) -> int | None:
        """Where the first believable record begins at or after byte `at` and before `stop`."""
        return next((place for place in self._magics(at, stop) if self.believable(place)), None)

    def first_record(self, at: int, stop: int) -> int | None:
        """As `next_record`, but `at` may lie inside a record: nothing that begins inside it counts."""
        found = self.next_record(at, stop)
        # In an undamaged file all records begin at multiples of 4, and none of these can lie inside another.
        while found is not None and found & 3 and (around := self._around(found)) is not None:
            found = self.next_record(around, stop)
        return found

    def extent(self, at: int) -> Extent:
        """The parts of the record at a believable place, joined."""
        part = self.part(at)
        assert part is not None
        size = part.stop - part.start
        while part.kind in (FIRST, MIDDLE):
            following = self.part(part.end)
            if following is None or following.kind not in (MIDDLE, LAST) or not self._sound(following):
                return Extent(at, size, part.stop, part.end, False)
            part = following
            size += len(MAGIC_BYTES) + part.stop - part.start
        return Extent(at, size, part.stop, part.end, True)

    def payload(self, extent: Extent) -> Iterator[bytes]:
        """The payload of a whole record in pieces of at most a megabyte, with the magic numbers put back."""
        at = extent.at
        while at < extent.end:
            part = self.part(at)
            assert part is not None
            if at != extent.at:
                yield MAGIC_BYTES
            for start in range(part.start, part.stop, _CHUNK):
                yield read_at(self._stream, start, min(_CHUNK, part.stop - start))
            at = part.end

    def found(self, at: int) -> str:
        """What is at a place where a record should begin, in words."""
        header = read_at(self._stream, at, PART_HEADER.size)
        part = parse_part(header, at)
        if part is None:
            return f"expected the magic number {MAGIC_BYTES.hex()} and a length, found {header.hex() or 'nothing'}"
        if part.stop > self.size:
            left = counted(self.size - part.start, "is", "are")
            return f"its length says {part.stop - part.start} bytes, {left} left in the file"
        if part.kind in (MIDDLE, LAST):
            return "a later part of a record whose first part is not there"
        return f"its length says {part.stop - part.start} bytes, but no record begins behind them, or one within them"

    def is_cut_off(self, at: int) -> bool:
        """Whether the record at byte `at` runs over the end of the file."""
        header = read_at(self._stream, at, PART_HEADER.size)
        part = parse_part(header, at)
        if part is None:
            return len(header) < PART_HEADER.size and header[:4] == MAGIC_BYTES[: len(header)]
        return part.stop > self.size

    def _around(self, at: int) -> int | None:
        """The end of the believable record that contains byte `at`; None if none does."""
        base = at
        while base > max(0, at - _LOOK_BACK):
            stop, base = base, max(0, base - _CHUNK)
            for place in reversed(list(self._magics(base, stop))):
                if (at - place) & 3 and self.believable(place):
                    extent = self.extent(place)
                    return extent.end if extent.stop > at else None
        return None

    def _sound(self, part: Part) -> bool:
        followed = self._followed(part)
        if not followed and not self._shows_an_image(part):
            return False
        # A length that ends where another part begins is right, unless it skips parts. Otherwise (bytes were inserted
        # or removed) a part may begin at any byte inside it.
        phase = None if not followed else part.start & 3
        inside = (self.part(place) for place in self._magics(part.start, part.stop, phase))
        return not any(other is not None and self._plausible(other) for other in inside)

    def _plausible(self, part: Part) -> bool:
        return self._followed(part) or self._shows_an_image(part)

    def _followed(self, part: Part) -> bool:
        return part.end >= self.size or bool(parse_part(read_at(self._stream, part.end, PART_HEADER.size), part.end))

    def _shows_an_image(self, part: Part) -> bool:
        if part.kind not in (WHOLE, FIRST):
            return False
        size = part.stop - part.start
        begin = read_at(self._stream, part.start, min(size, IMAGE_HEADER.size + 2 * LABEL.size))
        header = parse_image_header(begin, size)
        return header is not None and read_at(self._stream, part.start + header.size, 8).startswith(_SIGNATURES)

    def _magics(self, start: int, stop: int, phase: int | None = None) -> Iterator[int]:
        """Offsets in a range of the file at which the magic number stands; with a `phase`, only those with this
        remainder modulo 4."""
        stop = min(stop, self.size)
        for base in range(start, stop, _CHUNK):
            chunk = read_at(self._stream, base, min(_CHUNK, stop - base) + len(MAGIC_BYTES) - 1)
            place = chunk.find(MAGIC_BYTES)
            while place >= 0:
                if phase is None or (base + place) & 3 == phase:
                    yield base + place
                place = chunk.find(MAGIC_BYTES, place + 1)
