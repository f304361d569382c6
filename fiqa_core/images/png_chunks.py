"""The chunks of a PNG: a copy with only the chunks of its pixels, after all of them were found complete.

Text, profiles, times and animations may have any size and state. Pillow inflates them, and fails if they are large or
unusual; OpenCV skips them, and so does the copy.
"""

import zlib
from collections.abc import Iterable
from typing import NamedTuple

from fiqa_core.images.admission import ImageRejected
from fiqa_core.images.orientation import EXIF, exif_orientation
from fiqa_core.wording import counted
from schemas.reasons import Status

MAGIC = b"\x89PNG\r\n\x1a\n"
_END = b"\0\0\0\0IEND\xae\x42\x60\x82"
_INDEXED = 3
# Samples a pixel, and the bits that a sample may have, by colour type.
_KINDS = {0: (1, (1, 2, 4, 8, 16)), 2: (3, (8, 16)), 3: (1, (1, 2, 4, 8)), 4: (2, (8, 16)), 6: (4, (8, 16))}
# Adam7: first column, first row, column step, row step of each pass.
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_BLOCK = 1 << 16
# Each takes a microsecond. Encoders write chunks of 8 kB or more, so the largest admitted image has about ten thousand.
_MAX_CHUNKS = 1_000_000


class PngPixels(NamedTuple):
    """The parts of a PNG that its pixels are made of.

    Attributes:
        header: the body of IHDR. palette: that of PLTE, empty if the colours are not indexed.
        coded: the bodies of the IDAT chunks.
        orientation: EXIF's, 1..8.
    """

    header: bytes
    palette: bytes
    coded: list[bytes]
    orientation: int

    def alone(self) -> tuple[bytes, int]:
        """(a PNG of these pixels and nothing else, their orientation).

        Raises:
            ImageRejected: CORRUPT, where it has no rows.
        """
        if not self.coded:
            raise _rejected(Status.CORRUPT, "it has no rows")
        chunks = [_chunk(b"IHDR", self.header)]
        if self.palette:
            chunks.append(_chunk(b"PLTE", self.palette))
        return b"".join([MAGIC, *chunks, _chunk(b"IDAT", b"".join(self.coded)), _END]), self.orientation

    def is_interlaced(self) -> bool:
        """Whether the rows are stored in seven passes, so that the last row of the picture is not the last one
        stored."""
        return bool(self.header[12])

    def check_rows(self) -> None:
        """Inflate the rows, to check that all are there and their checksum is right; takes no memory.

        (Pillow accepts fewer rows if their compressed stream has an end, and gives zeros for the rest. So this is
        called only if the last row is all zeros: it costs half as much as decoding.)

        Raises:
            ImageRejected: TRUNCATED or CORRUPT.
        """
        try:
            missing, ended = _inflated(self.coded, _bytes_of_rows(self.header))
        except zlib.error as error:
            raise _rejected(Status.CORRUPT, f"its rows cannot be inflated ({error})") from error
        if missing > 0 or not ended:
            raise _rejected(
                Status.TRUNCATED, f"its rows end early ({counted(missing, 'byte')} and their checksum are missing)"
            )


def read_png(data: bytes) -> PngPixels:
    """Check the chunks of the pixels, as libpng does, and skip the others.

    Raises:
        ImageRejected: TRUNCATED (no IEND), CORRUPT or UNSUPPORTED, without a size.
    """
    header, palette, exif = b"", b"", b""
    coded: list[bytes] = []
    previous = b""
    for position, kind, body, sound in _chunks(data):
        # A lower-case first letter means that the pixels do not depend on the chunk.
        needed = not kind[0] & 0x20 and (kind != b"PLTE" or header[9:10] == bytes([_INDEXED]))
        if needed and not sound:
            raise _rejected(
                Status.CORRUPT, f"the checksum of chunk {kind!r} at byte {position} does not fit its content"
            )
        if (kind == b"IHDR") != (not previous) and kind != b"CgBI":
            raise _rejected(Status.CORRUPT, f"chunk {kind!r} at byte {position} is out of place")
        if kind == b"IHDR":
            header = _checked_header(body)
        elif kind == b"PLTE" and needed:
            if coded or palette or len(body) % 3 or not 3 <= len(body) <= 768:
                raise _rejected(Status.CORRUPT, "its palette is out of place, or of a size that none has")
            palette = body
        elif kind == b"IDAT":
            if coded and previous != b"IDAT":
                raise _rejected(Status.CORRUPT, f"other chunks lie among its rows (before byte {position})")
            coded.append(body)
        elif kind == b"eXIf" and sound and not exif:
            exif = body
        elif needed:
            raise _rejected(Status.UNSUPPORTED, f"pixels that depend on a chunk {kind!r} are not decoded here")
        previous = kind
    if not header or (header[9] == _INDEXED and not palette):
        raise _rejected(Status.CORRUPT, "its colours are indexed, without a palette" if header else "it has no header")
    return PngPixels(header, palette, coded, 1 if exif.startswith(EXIF) else exif_orientation(exif))


def _chunks(data: bytes) -> Iterable[tuple[int, bytes, bytes, bool]]:
    """(position, kind, body, whether the checksum fits) of each chunk before IEND."""
    position = len(MAGIC)
    with memoryview(data) as view:
        for _ in range(_MAX_CHUNKS):
            start = position + 8
            end = start + int.from_bytes(data[position : position + 4], "big")
            kind = data[position + 4 : start]
            if len(data) < max(start, end + 4):
                raise _rejected(Status.TRUNCATED, "the file ends before its last chunk (IEND)")
            if kind == b"IEND":
                return
            if not kind.isalpha():
                raise _rejected(Status.CORRUPT, f"{kind!r} at byte {position + 4} is not the name of a chunk")
            sound = zlib.crc32(view[position + 4 : end]) == int.from_bytes(data[end : end + 4], "big")
            yield position, kind, data[start:end], sound
            position = end + 4
    raise _rejected(Status.UNSUPPORTED, f"files of more than {_MAX_CHUNKS} chunks are not read here")


def _checked_header(body: bytes) -> bytes:
    depth, colour, compression, filtering, interlaced = body[8:13] if len(body) == 13 else bytes(5)
    if depth not in _KINDS.get(colour, (0, ()))[1] or compression or filtering or interlaced > 1:
        raise _rejected(Status.CORRUPT, f"its header says {body[8:].hex(' ')}, which no kind of PNG has")
    return body


def _bytes_of_rows(header: bytes) -> int:
    """How many bytes the rows are, inflated: each has one byte for its filter."""
    width, height = int.from_bytes(header[:4], "big"), int.from_bytes(header[4:8], "big")
    bits = _KINDS[header[9]][0] * header[8]
    total = 0
    for left, top, across, down in _PASSES if header[12] else ((0, 0, 1, 1),):
        columns, rows = (width - left + across - 1) // across, (height - top + down - 1) // down
        total += rows * (1 + (columns * bits + 7) // 8) if columns > 0 and rows > 0 else 0
    return total


def _inflated(coded: list[bytes], expected: int) -> tuple[int, bool]:
    """(number of missing bytes, whether the stream has an end); bytes after `expected` are ignored."""
    stream, missing = zlib.decompressobj(), expected
    for body in coded:
        rest = body
        while not stream.eof:
            block = len(stream.decompress(rest, _BLOCK))
            rest = stream.unconsumed_tail
            missing -= block
            if missing < 0:
                return missing, True
            if not rest and block < _BLOCK:
                break
    return missing, stream.eof


def _chunk(kind: bytes, body: bytes) -> bytes:
    return b"".join([len(body).to_bytes(4, "big"), kind, body, zlib.crc32(body, zlib.crc32(kind)).to_bytes(4, "big")])


def _rejected(status: Status, message: str) -> ImageRejected:
    return ImageRejected(status, f"PNG: {message}")
