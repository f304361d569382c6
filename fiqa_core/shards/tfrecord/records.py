"""The records of a TFRecord file in order, and the stretches in which none can be read.

A record is where a header with a fitting checksum stands right behind the record before. Where none stands there, the
next place with one is looked for, byte by byte: inside the record before as well if its own data are damaged, for then
bytes of it may be missing. A length says nothing before its checksum fits, and is never allocated before it is known
that the file, or the limit, has so much.
"""

from collections.abc import Iterator
from typing import NamedTuple

from fiqa_core.shards.tfrecord.framing import (
    CHECKSUM,
    FRAME_BYTES,
    HEADER,
    checksum,
    masked,
    possible_headers,
    stated_length,
)
from fiqa_core.shards.tfrecord.window import CHUNK, Window

# A file made for it has a header every 12 bytes, each of a record up to its end with a false checksum. So many bytes,
# and so many times what was passed already, are summed up in vain before the data of such records are passed over.
_IN_VAIN = 1 << 30
_FIRST_LOOK = 4096  # bytes; most often the next record is near
_TIMES = 16


class Stored(NamedTuple):
    """A record whose frame begins at byte `at` and ends before `end`; `size` bytes of data.

    `data` is None where they are more than the limit, or were not asked for. `damage` says what is wrong with them.
    """

    at: int
    end: int
    size: int
    data: bytes | None
    damage: str | None = None


class Lost(NamedTuple):
    """A stretch from byte `at` on in which no record can be read; `end` is None where none follows.

    `truncated`: the file breaks off in it.
    """

    at: int
    end: int | None
    reason: str
    truncated: bool


def records(window: Window, at: int, stop: int | None, limit: int, whole: bool = True) -> Iterator[Stored | Lost]:
    """What begins at byte `at` or behind, before byte `stop` (None: up to the end).

    Args:
        limit: most bytes of data that are held.
        whole: read data and check them. Without, the same records and stretches are found, without their data.
    """
    first, in_vain = at, 0
    while stop is None or at < stop:
        for sound in _sound(window, at, stop) if whole else _chained(window, at):
            yield sound
            at = sound.end
        if stop is not None and at >= stop:
            return
        header = window.take(at, HEADER.size)
        length = stated_length(header)
        if length is None or not _fits(window, at, length):
            reason = window.go_on() if len(header) < HEADER.size else None
            if not header and reason is None:
                return
            found = _next_header(window, at + 1 if header else at)
            cut_off = len(header) < HEADER.size or length is not None
            yield Lost(at, found, reason or _found(window, at, header, length), cut_off)
            if found is None:
                return
            at = found
            continue
        record = _stored(window, at, length, limit, whole, in_vain < _IN_VAIN + _TIMES * (at - first))
        if isinstance(record, Lost):
            in_vain += length
            yield record
            if record.end is None:
                return
            at = record.end
        else:
            yield record
            at = record.end


def _sound(window: Window, at: int, stop: int | None) -> Iterator[Stored]:
    """Records without a fault that lie in one piece of the file, the first of them at its beginning: the fast way.

    It ends before anything else, without a word.
    """
    piece, begin = window.ahead(at)
    base, held = at - begin, len(piece)
    most = held if stop is None else min(held, stop - base)
    header, footer = HEADER.unpack_from, CHECKSUM.unpack_from
    while begin + 12 <= most:
        length, crc = header(piece, begin)
        last = begin + 12 + length
        if last + 4 > held or checksum(piece[begin : begin + 8]) != crc:
            return
        data = piece[begin + 12 : last]
        if checksum(data) != footer(piece, last)[0]:
            return
        yield Stored(base + begin, base + last + 4, length, data)
        begin = last + 4


def _chained(window: Window, at: int) -> Iterator[Stored]:
    """Records by their headers alone, each followed by another or the end of the file: the fast way for a plan."""
    size = window.size
    length = stated_length(window.header(at)) if size is not None else None
    while size is not None and length is not None:
        end = at + FRAME_BYTES + length
        if end > size:
            return
        following = stated_length(window.header(end)) if end < size else 0
        if following is None or (end < size and end + FRAME_BYTES + following > size):
            return
        yield Stored(at, end, length, None)
        if end == size:
            return
        at, length = end, following


def _stored(window: Window, at: int, length: int, limit: int, whole: bool, look_inside: bool) -> Stored | Lost:
    begin, end = at + HEADER.size, at + FRAME_BYTES + length
    if not whole and _goes_on(window, end):
        return Stored(at, end, length, None)
    data: bytes | None = None
    if length <= limit:
        data = window.take(begin, length)
        crc = checksum(data) if len(data) == length else None
    else:
        long = window.crc(begin, length)
        crc = None if long is None else masked(long)
    stored = window.take(begin + length, CHECKSUM.size)
    if crc is None or len(stored) < CHECKSUM.size:
        reason = window.go_on()
        found = _next_header(window, window.end) if reason else None
        what = reason or "the file ends within it"
        return Lost(at, found, f"the record at byte {at} of {length} bytes is not whole: {what}", True)
    expected = int.from_bytes(stored, "little")
    if crc == expected:
        return Stored(at, end, length, data)
    damage = f"the data's checksum is {crc:08x}, the record says {expected:08x}: {length} bytes from byte {begin} on"
    if _goes_on(window, end):
        return Stored(at, end, length, data, damage)
    if data is not None:
        window.put_back(begin, data + stored)
    look_inside &= data is not None or window.size is not None
    found = _next_header(window, begin if look_inside else end)
    return Lost(at, found, damage, False)


def _fits(window: Window, at: int, length: int) -> bool:
    return window.size is None or at + FRAME_BYTES + length <= window.size


def _goes_on(window: Window, at: int) -> bool:
    """Whether a record, or the end of the file, is at this place."""
    header = window.take(at, HEADER.size)
    if not header:
        return True
    length = stated_length(header)
    return length is not None and _fits(window, at, length)


def _next_header(window: Window, at: int) -> int | None:
    """The first place at or behind byte `at` where a record begins that fits into the file."""
    size = _FIRST_LOOK
    while True:
        data = window.take(at, size)
        for place in possible_headers(data).tolist():
            length = stated_length(data[place : place + HEADER.size])
            if length is not None and _fits(window, at + place, length):
                return int(at + place)
        if len(data) < size:
            if window.go_on() is None:
                return None
            at += len(data)
        else:
            at += len(data) - HEADER.size + 1
            size = min(4 * size, CHUNK)


def _found(window: Window, at: int, header: bytes, length: int | None) -> str:
    if length is not None:
        left = (window.size or 0) - at - FRAME_BYTES
        return f"the record at byte {at} states a length of {length} bytes, but {max(left, 0)} are left in the file"
    if len(header) < HEADER.size:
        return f"the file ends within the header of the record at byte {at}"
    return f"no record begins at byte {at}: the length's checksum does not fit ({header.hex()})"
