"""Members of an archive without a usable directory (a download that broke off), found by their own headers."""

import struct
import zlib
from collections.abc import Iterator
from typing import IO, NamedTuple

from fiqa_core.shards.zip.content import DEFLATED, STORED
from fiqa_core.shards.zip.entry import ENTRY_MAGIC, LOCAL_HEADER, LOCAL_MAGIC, Entry, local_entry

_CHUNK = 1 << 20
_SIZE_FOLLOWS = 1 << 3  # flag: checksum and sizes stand behind the member's bytes
_DESCRIPTOR_MAGIC = b"PK\7\x08"
_BEHIND_MEMBERS = (ENTRY_MAGIC, b"PK\5\6", b"PK\6\6", b"PK\6\x08")
_MOST_VERSION = 100
_METHODS = frozenset((0, 1, 2, 3, 4, 5, 6, 8, 9, 12, 14, 20, 93, 95, 98, 99))
_MOST_NAME = 4096
_MOST_INFLATED = 1 << 30


class Lost(NamedTuple):
    """Bytes that belong to no member that can be read. `end` is None where no member follows."""

    at: int
    end: int | None
    truncated: bool


def scanned(stream: IO[bytes]) -> Iterator[tuple[Entry | Lost, int]]:
    """Members and lost stretches in order, each with the byte behind it. What is lost at the end comes last."""
    size = stream.seek(0, 2)
    at = 0
    while True:
        entry, begin = _header(stream, at)
        if entry is None:
            if _peek(stream, at) in _BEHIND_MEMBERS:
                return
            found = _next_header(stream, at)
            yield Lost(at, found, found is None), size if found is None else found
            if found is None:
                return
            at = found
            continue
        entry, end = _measured(stream, entry, begin, size)
        if not (end == size or _peek(stream, end) == LOCAL_MAGIC or _peek(stream, end) in _BEHIND_MEMBERS):
            # Its size is damaged, or the bytes behind it: a member that begins within it must not be lost.
            found = _next_header(stream, begin)
            if found is not None and found < end:
                entry, end = entry._replace(stored=found - begin), found
        yield entry, min(end, size)
        if end >= size:
            if entry.at < size:
                yield Lost(size, None, True), size
            return
        at = end


def _header(stream: IO[bytes], at: int) -> tuple[Entry | None, int]:
    """The member that begins here (None: none does), and where its bytes begin."""
    stream.seek(at)
    fixed = stream.read(LOCAL_HEADER.size)
    if len(fixed) < LOCAL_HEADER.size or not fixed.startswith(LOCAL_MAGIC):
        return None, at
    version, _, method = struct.unpack_from("<3H", fixed, 4)
    name_size, extra_size = struct.unpack_from("<2H", fixed, 26)
    if version & 0xFF > _MOST_VERSION or method not in _METHODS or not 0 < name_size <= _MOST_NAME:
        return None, at
    rest = stream.read(name_size + extra_size)
    raw = rest[:name_size]
    if len(rest) < name_size + extra_size or b"\0" in raw:
        return None, at
    return local_entry(fixed, raw, rest[name_size:], at), at + LOCAL_HEADER.size + name_size + extra_size


def _measured(stream: IO[bytes], entry: Entry, begin: int, size: int) -> tuple[Entry, int]:
    """The member with its sizes and checksum, where they stand behind its bytes, and the byte behind all of it."""
    if not entry.flags & _SIZE_FOLLOWS:
        return entry, begin + entry.stored
    if entry.stored:
        stored, crc, length = entry.stored, entry.crc, entry.size
    elif entry.method == DEFLATED:
        stored, crc, length = _inflated_size(stream, begin)
    else:
        stored, crc, length = _stored_size(stream, begin, size) if entry.method == STORED else (0, 0, 0)
    end = begin + stored
    stream.seek(end)
    behind = stream.read(24)
    if behind.startswith(_DESCRIPTOR_MAGIC):
        behind, end = behind[4:], end + 4
    if len(behind) >= 12:
        crc = int.from_bytes(behind[:4], "little")
        wide = _peek(stream, end + 12) != LOCAL_MAGIC and _peek(stream, end + 20) in (LOCAL_MAGIC, *_BEHIND_MEMBERS)
        end += 20 if wide else 12
    return entry._replace(stored=stored, crc=crc, size=length), end


def _inflated_size(stream: IO[bytes], begin: int) -> tuple[int, int, int]:
    """(stored bytes, checksum, bytes) of a deflated member, found by decompressing it; nothing of it is kept."""
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    stream.seek(begin)
    stored = crc = length = 0
    while not inflate.eof and length < _MOST_INFLATED and (piece := stream.read(_CHUNK)):
        stored += len(piece)
        while piece and not inflate.eof:
            try:
                found = inflate.decompress(piece, _CHUNK)
            except zlib.error:
                return stored - len(piece), crc, length
            crc, length = zlib.crc32(found, crc), length + len(found)
            piece = inflate.unconsumed_tail
            if length >= _MOST_INFLATED:
                break
        stored -= len(inflate.unused_data) if inflate.eof else 0
    return stored, crc, length


def _stored_size(stream: IO[bytes], begin: int, size: int) -> tuple[int, int, int]:
    """(stored bytes, checksum, bytes) of a member stored as it is: it ends where a record gives just this length."""
    at = begin
    while (found := _find(stream, at, (_DESCRIPTOR_MAGIC,))) is not None:
        stream.seek(found + 4)
        crc, stored = struct.unpack("<2I", stream.read(8).ljust(8, b"\0"))
        if stored == found - begin:
            return stored, crc, stored
        at = found + 1
    return size - begin, 0, size - begin


def _next_header(stream: IO[bytes], at: int) -> int | None:
    """The next byte behind `at` where a believable member begins."""
    while (found := _find(stream, at + 1, (LOCAL_MAGIC,))) is not None:
        if _header(stream, found)[0] is not None:
            return found
        at = found
    return None


def _find(stream: IO[bytes], at: int, marks: tuple[bytes, ...]) -> int | None:
    kept = b""
    stream.seek(at)
    while piece := stream.read(_CHUNK):
        data = kept + piece
        found = min((place for place in map(data.find, marks) if place >= 0), default=-1)
        if found >= 0:
            return at + found
        kept = data[-3:]
        at += len(data) - len(kept)
    return None


def _peek(stream: IO[bytes], at: int) -> bytes:
    stream.seek(at)
    return stream.read(4)
