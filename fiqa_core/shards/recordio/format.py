"""The bytes of MXNet RecordIO: parts with a magic number and a length, and the image-record header in them."""

import struct
from typing import IO, NamedTuple

import numpy as np

MAGIC = 0xCED7230A
MAGIC_BYTES = struct.pack("<I", MAGIC)
MAX_PART_BYTES = (1 << 29) - 1
WHOLE, FIRST, MIDDLE, LAST = range(4)

PART_HEADER = struct.Struct("<II")
IMAGE_HEADER = struct.Struct("<IfQQ")
LABEL = struct.Struct("<f")


class Part(NamedTuple):
    """One part of a record: `kind` (WHOLE, FIRST, MIDDLE, LAST), bytes `start` to `stop` of the file, and `end`,
    where the next part begins (behind the padding)."""

    kind: int
    start: int
    stop: int

    @property
    def end(self) -> int:
        return self.start + aligned(self.stop - self.start)


class ImageHeader(NamedTuple):
    """The header in front of the image bytes.

    Attributes:
        flag: number of labels behind the fixed 24 bytes; 0: one label, inside them.
        labels: at most the first two (more are not needed, and a hostile flag may say four billion).
        id: the record's key, as the writing tool counted. size: bytes of the header with all labels.
    """

    flag: int
    labels: tuple[float, ...]
    id: int
    size: int


def aligned(place: int) -> int:
    """The next multiple of 4."""
    return place + (-place & 3)


def parse_part(header: bytes, at: int) -> Part | None:
    """The part whose 8-byte header lies at byte `at` of a file; None without a magic number."""
    if len(header) < PART_HEADER.size or header[:4] != MAGIC_BYTES:
        return None
    value = PART_HEADER.unpack_from(header)[1]
    start = at + PART_HEADER.size
    kind = value >> 29
    return Part(kind, start, start + (value & MAX_PART_BYTES)) if kind <= LAST else None


def parse_image_header(begin: bytes, size: int) -> ImageHeader | None:
    """The header of a record of `size` bytes, from its first 32 (or all of a shorter one); None if it does not fit."""
    if len(begin) < IMAGE_HEADER.size:
        return None
    flag, label, key, _ = IMAGE_HEADER.unpack_from(begin)
    length = IMAGE_HEADER.size + LABEL.size * flag
    if length > size:
        return None
    count = min(flag, 2)
    labels = struct.unpack_from(f"<{count}f", begin, IMAGE_HEADER.size) if flag else (label,)
    return ImageHeader(flag, labels, key, length)


def label_text(label: float) -> str | None:
    """A label as text: whole numbers without a point, others with the digits a float32 has; None for NaN."""
    if label != label:
        return None
    return str(int(label)) if label.is_integer() else str(np.float32(label))


def read_at(stream: IO[bytes], at: int, size: int) -> bytes:
    """Up to `size` bytes from byte `at`; fewer only at the end of the file."""
    stream.seek(at)
    return stream.read(size)
