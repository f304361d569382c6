"""Run-length coded bitmaps (RLE4 and RLE8) as plain ones.

Pillow before 13 misreads RLE4's runs of an odd length, and runs in files whose pixels begin at an odd byte, without an
error. (Microsoft, "Bitmap Compression": pairs of bytes, runs or escapes.)
"""

from fiqa_core.images.admission import ImageRejected
from schemas.reasons import Status

_RLE8, _RLE4 = 1, 2
_END_OF_ROW, _END_OF_IMAGE, _DELTA = 0, 1, 2
_MAX_STEPS = 4_000_000
_PAIRS = tuple(bytes([pair >> 4, pair & 15]) for pair in range(256))
_OS2_HEADER_BYTES = (16, 64)


def uncompressed(data: bytes, width: int, height: int) -> bytes:
    """A BMP of 8 bits a pixel and no compression; `data` itself if it is not run-length coded.

    `width` and `height` are those of its header, and within the limits. Pixels that the runs skip have the
    palette's first colour.

    Raises:
        ImageRejected: TRUNCATED, CORRUPT or UNSUPPORTED, without a size.
    """
    header_bytes = int.from_bytes(data[14:18], "little")
    if header_bytes < 40 and header_bytes not in _OS2_HEADER_BYTES:
        return data
    bits, coding = int.from_bytes(data[28:30], "little"), int.from_bytes(data[30:34], "little")
    if (coding, bits) not in ((_RLE8, 8), (_RLE4, 4)):
        return data
    if header_bytes < 40:
        raise ImageRejected(Status.UNSUPPORTED, "BMP: run-length codes of OS/2 are not decoded here")
    offset = int.from_bytes(data[10:14], "little")
    rows = _Rows(width, height, bits)
    rows.read(data, offset)
    header = bytearray(data[:offset])
    header[28:30], header[30:34] = (8).to_bytes(2, "little"), bytes(4)
    if not any(header[46:50]):
        header[46:50] = (1 << bits).to_bytes(4, "little")
    return bytes(header) + rows.pixels


class _Rows:
    """Palette indices, one byte each, bottom row first, rows padded to four bytes."""

    def __init__(self, width: int, height: int, bits: int) -> None:
        self.width, self.height, self.bits = width, height, bits
        self.stride = -(-width // 4) * 4
        self.pixels = bytearray(self.stride * height)
        self.x = self.y = 0

    def read(self, data: bytes, position: int) -> None:
        for _ in range(_MAX_STEPS):
            if position + 2 > len(data):
                if self.y >= self.height or (self.y == self.height - 1 and self.x == self.width):
                    return
                raise ImageRejected(Status.TRUNCATED, "BMP: the file ends before its last row")
            count, value = data[position], data[position + 1]
            position += 2
            if count:
                self._put(bytes([value]) * count if self.bits == 8 else (_PAIRS[value] * ((count + 1) // 2))[:count])
            elif value == _END_OF_ROW:
                self.x, self.y = 0, self.y + 1
            elif value == _END_OF_IMAGE:
                return
            elif value == _DELTA:
                self.x += data[position] if position < len(data) else 0
                self.y += data[position + 1] if position + 1 < len(data) else 0
                position += 2
            else:
                size = -(-value * self.bits // 8)
                if position + size > len(data):
                    raise ImageRejected(Status.TRUNCATED, "BMP: the file ends before its last row")
                self._put(self._indices(data[position : position + size], value))
                position += size + size % 2
        raise ImageRejected(Status.UNSUPPORTED, f"BMP: more than {_MAX_STEPS} runs are not decoded here")

    def _indices(self, coded: bytes, count: int) -> bytes:
        if self.bits == 8:
            return coded
        return b"".join(map(_PAIRS.__getitem__, coded))[:count]

    def _put(self, indices: bytes) -> None:
        if self.y >= self.height or self.x + len(indices) > self.width:
            raise ImageRejected(Status.CORRUPT, "BMP: a run goes beyond the end of its row")
        start = self.y * self.stride + self.x
        self.pixels[start : start + len(indices)] = indices
        self.x += len(indices)
