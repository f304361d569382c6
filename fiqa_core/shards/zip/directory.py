"""The directory at the end of a zip archive: found, and read entry by entry, never held whole.

Source: PKWARE's APPNOTE 6.3.10, sections 4.3.12 to 4.3.16. An entry takes about 70 bytes, so an archive of five million
faces has a directory of 350 MB.
"""

import struct
from collections.abc import Iterator
from typing import IO, NamedTuple

from fiqa_core.errors import FiqaError
from fiqa_core.shards.zip.entry import DIRECTORY_ENTRY, ENTRY_MAGIC, Entry, directory_entry

_END = struct.Struct("<4s4H2IH")
_END_MAGIC = b"PK\5\6"
_LOCATOR = struct.Struct("<4sIQI")
_LOCATOR_MAGIC = b"PK\6\7"
_END64 = struct.Struct("<4sQ2H2I4Q")
_END64_MAGIC = b"PK\6\6"
_MOST_COMMENT = 1 << 16
_CHUNK = 1 << 20
_IN_ZIP64 = (0xFFFF, 0xFFFFFFFF)
_SPANNED = "it is one part of an archive that was split; join the parts first (zip -s 0 PARTS.zip --out WHOLE.zip)"


class DirectoryError(FiqaError, ValueError):
    """The directory is missing or damaged; the message says how."""


class SplitError(DirectoryError):
    """The file is one part of an archive that was split."""


class Directory(NamedTuple):
    """Where the directory lies: bytes `start` to `stop` of the file.

    `shift`: bytes in front of the archive (of a program that unpacks itself), to be added to every member's place.
    `entries`: the number of entries, of which only the lowest 16 bits are known if `counted_in_16_bits`.
    """

    start: int
    stop: int
    shift: int
    entries: int
    counted_in_16_bits: bool


def find_directory(stream: IO[bytes]) -> Directory:
    """Find the directory by the record at the archive's end.

    Raises:
        DirectoryError: there is none, or it is not where that record says.
    """
    size = stream.seek(0, 2)
    tail_at = max(0, size - _END.size - _MOST_COMMENT - _LOCATOR.size - _END64.size)
    stream.seek(tail_at)
    tail = stream.read()
    place, reason = len(tail), "its end is missing: it has no directory of its members"
    while (place := tail.rfind(_END_MAGIC, 0, place)) >= 0:
        if place + _END.size > len(tail):
            continue
        try:
            return _directory(stream, tail, tail_at, place)
        except SplitError:
            raise
        except DirectoryError as error:
            reason = str(error)
    raise DirectoryError(reason)


def _directory(stream: IO[bytes], tail: bytes, tail_at: int, place: int) -> Directory:
    _, disk, first_disk, _, entries, length, offset, _ = _END.unpack_from(tail, place)
    end, short = tail_at + place, True
    locator = tail[place - _LOCATOR.size : place] if place >= _LOCATOR.size else b""
    if locator.startswith(_LOCATOR_MAGIC):
        _, _, where, disks = _LOCATOR.unpack(locator)
        found = _end64(stream, where, end - _LOCATOR.size)
        end, entries, length, offset, short = *found, False
        if disks > 1:
            raise SplitError(_SPANNED)
    elif disk not in (0, 0xFFFF) or first_disk not in (0, 0xFFFF):
        raise SplitError(_SPANNED)
    start = end - length
    if start < offset:
        raise DirectoryError(f"its directory of {length} bytes should begin at byte {offset}, but the file is shorter")
    stream.seek(start)
    if entries and stream.read(4) != ENTRY_MAGIC:
        raise DirectoryError(f"its directory should begin at byte {start}, but none is there")
    return Directory(start, end, start - offset, entries, short)


def _end64(stream: IO[bytes], where: int, locator_at: int) -> tuple[int, int, int, int]:
    """(where the record begins, entries, length, offset) by the record for large archives."""
    # Where something stands in front of the archive, the record is not at its stated place but right before the
    # locator.
    for at in (where, locator_at - _END64.size):
        if not 0 <= at <= locator_at - _END64.size:
            continue
        stream.seek(at)
        data = stream.read(_END64.size)
        if len(data) == _END64.size and data.startswith(_END64_MAGIC):
            (_, _, _, _, _, _, _, entries, length, offset) = _END64.unpack(data)
            return at, entries, length, offset
    raise DirectoryError(f"the record that says where its directory lies is not at byte {where}")


def entries(stream: IO[bytes], start: int, stop: int) -> Iterator[tuple[Entry, int]]:
    """The entries between two bytes of the file, each with the byte behind it.

    Raises:
        DirectoryError: no entry begins where one should.
    """
    base, data, at = start, b"", 0
    while base + at < stop:
        if len(data) - at < _CHUNK // 2 and base + len(data) < stop:
            # Members are read between two entries, so the place is sought each time.
            stream.seek(base + len(data))
            more = stream.read(min(_CHUNK, stop - base - len(data)))
            base, data, at = base + at, data[at:] + more, 0
        fixed = data[at : at + DIRECTORY_ENTRY.size]
        if len(fixed) < DIRECTORY_ENTRY.size or not fixed.startswith(ENTRY_MAGIC):
            raise DirectoryError(f"its directory is damaged at byte {base + at}: no entry begins there")
        name_size, extra_size, comment_size = struct.unpack_from("<3H", fixed, 28)
        name_at = at + DIRECTORY_ENTRY.size
        extra_at = name_at + name_size
        comment_at = extra_at + extra_size
        at = comment_at + comment_size
        if base + at > stop:
            raise DirectoryError(f"its directory ends within the entry before byte {stop}")
        yield directory_entry(fixed, data[name_at:extra_at], data[extra_at:comment_at]), base + at


def whole_directory(stream: IO[bytes]) -> tuple[Directory, Iterator[tuple[Entry, int]]]:
    """The directory and its entries, whose number is compared with the stated one at their end.

    Raises:
        DirectoryError: now, or while the entries are read.
    """
    found = find_directory(stream)

    def checked() -> Iterator[tuple[Entry, int]]:
        count = 0
        for each in entries(stream, found.start, found.stop):
            count += 1
            yield each
        # Old tools let the number run over.
        if count % (1 << 16) != found.entries if found.counted_in_16_bits else count != found.entries:
            raise DirectoryError(f"its directory has {count} entries, but its end says {found.entries}")

    return found, checked()
