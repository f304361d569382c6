"""The chunks of a WebP: a copy that holds only the first picture, and the orientation.

Profiles, EXIF, XMP, unknown chunks and later frames may have any size and state; libwebp's animation reader, which
Pillow uses for every file, fails if one of them is unusual.
"""

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from fiqa_core.images.admission import ImageRejected
from fiqa_core.images.orientation import exif_orientation
from schemas.reasons import Status

_EXIF_FLAG, _ANIMATION_FLAG = 0x08, 0x02
_MAX_CHUNKS = 100_000
_FEW_CHUNKS = 16


class WebpPicture(NamedTuple):
    """`image`: a WebP of the first picture only, without alpha unless it is animated; `orientation`: EXIF's, 1..8."""

    image: bytes
    orientation: int


def first_picture(data: bytes) -> WebpPicture:
    """Find the picture among the chunks of a WebP, after its RIFF header was compared with its length.

    Raises:
        ImageRejected: TRUNCATED, CORRUPT or UNSUPPORTED, without a size.
    """
    flags, orientation = 0, 1
    canvas = picture = exif = b""
    frame: list[bytes] = []
    for kind, body in _chunks(data):
        if kind == b"VP8X" and not canvas:
            canvas, flags = body, body[0] if body else 0
        elif kind in (b"VP8 ", b"VP8L") and not picture:
            picture = _chunk(kind, body)
        elif kind == b"ANIM" and not frame:
            frame = [_chunk(kind, body)]
        elif kind == b"ANMF" and len(frame) == 1:
            frame.append(_chunk(kind, body))
        elif kind == b"EXIF" and not exif:
            exif = body
    if flags & _EXIF_FLAG:
        orientation = exif_orientation(exif)
    if flags & _ANIMATION_FLAG:
        if len(frame) != 2:
            raise ImageRejected(Status.CORRUPT, "WebP: it is said to be an animation, and holds no frame")
        # The alpha channel, which stays inside the frame, and the animation are read only if this header names them.
        canvas = bytes([flags & ~0x2C]) + canvas[1:]
        return WebpPicture(_riff(_chunk(b"VP8X", canvas), *frame), orientation)
    if not picture:
        raise ImageRejected(Status.CORRUPT, "WebP: it holds no picture")
    if canvas and (not picture_size(picture) or canvas_size(canvas) != picture_size(picture)):
        raise ImageRejected(
            Status.CORRUPT,
            f"WebP: its canvas is {canvas_size(canvas)} pixels, and the picture on it {picture_size(picture)}",
        )
    return WebpPicture(_riff(picture), orientation)


def canvas_size(body: bytes) -> tuple[int, int]:
    """(width, height) in a VP8X chunk's body."""
    return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")


def picture_size(chunk: bytes) -> tuple[int, int] | None:
    """(width, height) from a complete VP8 or VP8L chunk, or None if it is not one."""
    if chunk[:4] == b"VP8 " and chunk[11:14] == b"\x9d\x01\x2a":
        width, height = int.from_bytes(chunk[14:16], "little"), int.from_bytes(chunk[16:18], "little")
        return width & 0x3FFF, height & 0x3FFF
    if chunk[:4] == b"VP8L" and chunk[8:9] == b"\x2f":
        bits = int.from_bytes(chunk[9:13], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return None


def is_lossless(data: bytes) -> bool:
    """Whether the first picture of a WebP is coded without loss (frames of an animation are not checked)."""
    kinds = (kind for kind, _ in islice(_chunks(data), _FEW_CHUNKS))
    return next((kind for kind in kinds if kind in (b"VP8 ", b"VP8L")), b"") == b"VP8L"


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(kind, body) of the chunks inside the RIFF; a chunk that is cut off by the end is left out."""
    end = min(len(data), 8 + int.from_bytes(data[4:8], "little"))
    position = 12
    for _ in range(_MAX_CHUNKS):
        start = position + 8
        stop = start + int.from_bytes(data[position + 4 : start], "little")
        if stop > end or start > end:
            return
        yield data[position : position + 4], data[start:stop]
        position = stop + stop % 2
    raise ImageRejected(Status.UNSUPPORTED, f"WebP: files of more than {_MAX_CHUNKS} chunks are not read here")


def _chunk(kind: bytes, body: bytes) -> bytes:
    return b"".join([kind, len(body).to_bytes(4, "little"), body, bytes(len(body) % 2)])


def _riff(*chunks: bytes) -> bytes:
    return b"".join([b"RIFF", (4 + sum(map(len, chunks))).to_bytes(4, "little"), b"WEBP", *chunks])
