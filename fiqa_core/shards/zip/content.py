"""The bytes of one member: decompressed as far as its directory entry says and no further, and checked.

What an archive claims is not believed: a member that inflates to more than its entry says is damaged, and none of more
than the limit is decompressed at all. So an archive made to fill the memory costs no more than an honest one.
"""

import bz2
import hashlib
import lzma
import zlib
from collections.abc import Callable
from typing import IO, NamedTuple

from fiqa_core.shards.unit import Fault
from fiqa_core.shards.zip.entry import LOCAL_HEADER, LOCAL_MAGIC, Entry
from schemas.reasons import Status

STORED, DEFLATED = 0, 8
_EXTRA_GUESS = 64  # bytes of extra fields that are read with the header, to save a second read
_CHUNK = 1 << 20
_NAMES = {1: "Shrink", 2: "Reduce", 3: "Reduce", 4: "Reduce", 5: "Reduce", 6: "Implode", 9: "Deflate64",
          20: "Zstandard", 93: "Zstandard", 94: "MP3", 95: "XZ", 96: "JPEG", 97: "WavPack", 98: "PPMd"}  # fmt: skip


class Content(NamedTuple):
    """A member's bytes, or why there are none; `sha256` if they are too many to keep."""

    data: bytes | None
    fault: Fault | None = None
    sha256: bytes | None = None


def member_content(stream: IO[bytes], entry: Entry, shift: int, limit: int) -> Content:
    """Read one member.

    Args:
        shift: bytes in front of the archive. limit: most bytes of an image.
    """
    if entry.link:
        return _fault(Status.UNREADABLE, "member is a symbolic link, not a stored image")
    if entry.encrypted:
        return _fault(Status.UNREADABLE, "member is encrypted; unpack the archive with its password")
    unpack = _UNPACK.get(entry.method)
    if unpack is None:
        kind = f" ({_NAMES[entry.method]})" if entry.method in _NAMES else ""
        return _fault(
            Status.UNREADABLE,
            f"compression method {entry.method}{kind} is not read here; pack the archive again with Deflate",
        )
    if entry.size > limit or entry.stored > limit + (limit >> 3) + _CHUNK:
        return _too_large(stream, entry, shift, limit)
    stream.seek(entry.at + shift)
    data = stream.read(LOCAL_HEADER.size + len(entry.raw) + _EXTRA_GUESS + entry.stored)
    begin = _data_begin(data, entry)
    if isinstance(begin, str):
        return _fault(Status.CORRUPT, begin)
    if begin + entry.stored > len(data):
        data += stream.read(begin + entry.stored - len(data))
    packed = data[begin : begin + entry.stored]
    if len(packed) < entry.stored:
        return _fault(Status.TRUNCATED, f"the archive ends {entry.stored - len(packed)} bytes before this member does")
    try:
        found, ended = unpack(packed, entry.size)
    except (zlib.error, lzma.LZMAError, OSError, ValueError, EOFError) as error:
        return _fault(Status.CORRUPT, f"its compressed bytes are damaged ({error})")
    if len(found) != entry.size or not ended:
        more = "more" if len(found) > entry.size or not ended else f"{len(found)}"
        return _fault(Status.CORRUPT, f"it decompresses to {more} bytes, but its entry says {entry.size}")
    if zlib.crc32(found) != entry.crc:
        return _fault(Status.CORRUPT, "its bytes do not have the stored checksum (CRC-32)")
    return Content(found)


def _fault(status: Status, message: str) -> Content:
    return Content(None, Fault(status, message))


def _data_begin(data: bytes, entry: Entry) -> int | str:
    """Where a member's bytes begin behind its own header, or what is wrong with that."""
    if len(data) < LOCAL_HEADER.size or not data.startswith(LOCAL_MAGIC):
        return f"no member begins at byte {entry.at}, where the directory of the archive says"
    name_size, extra_size = int.from_bytes(data[26:28], "little"), int.from_bytes(data[28:30], "little")
    if data[LOCAL_HEADER.size : LOCAL_HEADER.size + name_size] != entry.raw:
        return f"the member at byte {entry.at} has another name than the directory of the archive says"
    return LOCAL_HEADER.size + name_size + extra_size


def _too_large(stream: IO[bytes], entry: Entry, shift: int, limit: int) -> Content:
    fault = Fault(Status.TOO_LARGE, f"{entry.size} stored bytes; the limit is {limit}")
    if entry.method != STORED:
        return Content(None, fault)
    stream.seek(entry.at + shift)
    begin = _data_begin(stream.read(LOCAL_HEADER.size + len(entry.raw)), entry)
    if isinstance(begin, str):
        return _fault(Status.CORRUPT, begin)
    stream.seek(entry.at + shift + begin)
    digest, left = hashlib.sha256(), entry.stored
    while left and (piece := stream.read(min(_CHUNK, left))):
        digest.update(piece)
        left -= len(piece)
    return Content(None, fault, None if left else digest.digest())


def _stored(packed: bytes, size: int) -> tuple[bytes, bool]:  # noqa: ARG001
    return packed, True


def _inflated(packed: bytes, size: int) -> tuple[bytes, bool]:
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    # One byte more than stated shows that there are more, and lets an empty stream end.
    found = inflate.decompress(packed, size + 1)
    if len(found) <= size and not inflate.eof:
        raise ValueError("they end too early")
    return found, inflate.eof


def _unbzipped(packed: bytes, size: int) -> tuple[bytes, bool]:
    unpack = bz2.BZ2Decompressor()
    return unpack.decompress(packed, size + 1), unpack.eof


def _unlzma(packed: bytes, size: int) -> tuple[bytes, bool]:
    """Version (2 bytes), length of the properties (2), the properties (5), then a raw LZMA stream."""
    length = int.from_bytes(packed[2:4], "little")
    if length != 5 or len(packed) < 9:
        raise ValueError("it has no LZMA properties")
    first, dictionary = packed[4], int.from_bytes(packed[5:9], "little")
    if first >= 9 * 5 * 5:
        raise ValueError("its LZMA properties are not valid")
    lzma_filter = {
        "id": lzma.FILTER_LZMA1, "lc": first % 9, "lp": first // 9 % 5, "pb": first // 45,
        # Nothing can refer further back than the member is long, so a claim of gigabytes takes no memory.
        "dict_size": max(4096, min(dictionary, size + 1)),
    }  # fmt: skip
    unpack = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[lzma_filter])
    # The mark at the end is optional, so only the size and the checksum show whether all was there.
    return unpack.decompress(packed[9:], size + 1), True


_UNPACK: dict[int, Callable[[bytes, int], tuple[bytes, bool]]] = {
    STORED: _stored,
    DEFLATED: _inflated,
    12: _unbzipped,
    14: _unlzma,
}
