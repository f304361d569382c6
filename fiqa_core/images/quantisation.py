"""How finely a stored image was quantised, from its header: of two copies the finer one is nearer the original."""

from functools import lru_cache
from typing import Literal

from fiqa_core.images.png_chunks import MAGIC as _PNG
from fiqa_core.images.webp_chunks import is_lossless

_DQT, _SOS, _EOI, _LOSSLESS = 0xDB, 0xDA, 0xD9, 0xC3
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
# TIFF's lossless codings: none, two of fax, LZW, Deflate (two numbers), PackBits.
_TIFF_LOSSLESS = {1, 2, 3, 4, 5, 8, 32946, 32773}
_TIFF_CODING = 259
# At most this many segments of the header are read; real files have about ten.
_MOST_SEGMENTS = 64
_MOST_TABLES = 4 * 129  # bytes of a segment that holds all there may be


def quantisation_step(data: bytes) -> float | None:
    """Mean quantisation step of a JPEG's luminance (its first component): from 1, smaller = finer compression.

    0 for PNG, BMP and lossless TIFF, WebP and JPEG. None for other formats, and if the header does not say.
    Nothing is decoded, and no content raises an error.
    """
    if data.startswith(b"\xff\xd8\xff"):
        return _of_usual_jpeg(data) or _of_jpeg(data)
    lossless = (
        data.startswith((_PNG, b"BM"))
        or (data.startswith(b"RIFF") and is_lossless(data))
        or (data.startswith((b"II*\0", b"MM\0*")) and _tiff_coding(data) in _TIFF_LOSSLESS)
    )
    return 0.0 if lossless else None


def _of_usual_jpeg(data: bytes) -> float | None:
    """Nearly every face: a plain JFIF header, table 0, perhaps table 1, and the frame. A fifth of the walk's time."""
    if data[20:25] != b"\xff\xdb\0\x43\0" or len(data) < 171:
        return None
    frame = 158 if data[89:94] == b"\xff\xdb\0\x43\1" else 89
    if data[frame] == 0xFF and data[frame + 1] in (0xC0, 0xC2) and data[frame + 12] == 0:
        return _mean(data[25:89])
    return None


def _of_jpeg(data: bytes) -> float | None:
    """Walk to the first scan for the tables, and for the number of that of the first component."""
    tables: dict[int, float] = {}
    wanted, position = -1, 2
    for _ in range(_MOST_SEGMENTS):
        start = data.find(b"\xff", position)
        if start < 0 or start + 4 > len(data):
            return None
        marker = data[start + 1]
        if not 0xC0 <= marker < 0xFF:
            # Fill bytes, or bytes that belong to no segment: readers skip them.
            position = start + 1
            continue
        if marker in (_SOS, _EOI):
            return None
        position = start + 2 + (data[start + 2] << 8 | data[start + 3])
        if marker == _DQT:
            tables |= _means(data[start + 4 : min(position, start + 4 + _MOST_TABLES)])
        elif marker == _LOSSLESS:
            return 0.0
        elif marker in _FRAMES and start + 13 <= len(data):
            wanted = data[start + 12]
        if wanted in tables:
            return tables[wanted]
    return None


def _tiff_coding(data: bytes) -> int:
    """The coding of a TIFF's first page, 0 if it is not stored."""
    order: Literal["little", "big"] = "little" if data[:1] == b"I" else "big"
    start = int.from_bytes(data[4:8], order)
    entries = int.from_bytes(data[start : start + 2], order)
    for at in range(start + 2, min(start + 2 + 12 * entries, len(data) - 11), 12):
        if int.from_bytes(data[at : at + 2], order) == _TIFF_CODING:
            return int.from_bytes(data[at + 8 : at + 10], order)
    return 0


@lru_cache(1024)
def _mean(table: bytes) -> float:
    """Mean of 64 steps; most files have one of the same hundred tables."""
    return sum(table) / 64


def _means(body: bytes) -> dict[int, float]:
    """Mean of each whole table of a segment, by its number."""
    means: dict[int, float] = {}
    at = 0
    while at < len(body):
        wide, number = body[at] >> 4, body[at] & 15
        table = body[at + 1 : at + 1 + (128 if wide else 64)]
        at += 1 + len(table)
        if wide and len(table) == 128:
            means[number] = sum(table[::2]) * 4.0 + sum(table[1::2]) / 64
        elif not wide and len(table) == 64:
            means[number] = _mean(table)
    return means
