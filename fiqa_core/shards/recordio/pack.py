"""Records in the form of a `.rec`: parts, padding, headers; one by one, and many at once."""

import numpy as np

from fiqa_core.shards.recordio.format import (
    FIRST,
    IMAGE_HEADER,
    LAST,
    MAGIC,
    MAGIC_BYTES,
    MAX_PART_BYTES,
    MIDDLE,
    PART_HEADER,
    WHOLE,
)

# Places of an image record's fields, in 4-byte words from the header of its first part.
_LENGTH, _LABEL, _KEY = 1, 3, 4
_BEGIN = PART_HEADER.size + IMAGE_HEADER.size


def pack_record(payload: bytes) -> bytes:
    """A record with its part headers and padding, split where the magic number lies at a multiple of 4.

    Raises:
        ValueError: a part would have more than 2^29 - 1 bytes.
    """
    pieces = _split(payload)
    last = len(pieces) - 1
    packed = bytearray()
    for number, piece in enumerate(pieces):
        if len(piece) > MAX_PART_BYTES:
            raise ValueError(f"{len(piece)} bytes in one part of a record; RecordIO holds {MAX_PART_BYTES} at most")
        kind = WHOLE if not last else FIRST if not number else LAST if number == last else MIDDLE
        packed += PART_HEADER.pack(MAGIC, kind << 29 | len(piece)) + piece + bytes(-len(piece) & 3)
    return bytes(packed)


def pack_images(
    data: memoryview, starts: np.ndarray, sizes: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Consecutive records (one label, key 0) of images that lie in `data`.

    Returns:
        The records as uint8, and where each begins: int64 (images + 1).

    Raises:
        ValueError: an image is larger than a part of a record can be.
    """
    lengths = IMAGE_HEADER.size + sizes
    offsets = np.concatenate(([0], np.cumsum(PART_HEADER.size + -(-lengths // 4) * 4)))
    if len(sizes) and lengths.max() > MAX_PART_BYTES:
        return _one_by_one(data, starts, sizes, labels)
    packed = np.zeros(offsets[-1], np.uint8)
    words = packed.view("<u4")
    heads = offsets[:-1] // 4
    words[heads], words[heads + _LENGTH] = MAGIC, lengths
    words[heads + _LABEL] = labels.astype("<f4").view("<u4")
    target = packed.data
    for place, start, size in zip((offsets[:-1] + _BEGIN).tolist(), starts.tolist(), sizes.tolist(), strict=True):
        target[place : place + size] = data[start : start + size]
    if np.count_nonzero(words == MAGIC) != len(heads):
        return _one_by_one(data, starts, sizes, labels)
    return packed, offsets


def set_keys(packed: np.ndarray, offsets: np.ndarray, first: int) -> None:
    """Set the keys of the records at these offsets to `first`, `first + 1` ...; each is below 2^32."""
    packed.view("<u4")[offsets // 4 + _KEY] = np.arange(first, first + len(offsets))


def _one_by_one(
    data: memoryview, starts: np.ndarray, sizes: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """As `pack_images`; images with the magic number in them are split there."""
    records = [
        pack_record(IMAGE_HEADER.pack(0, label, 0, 0) + data[start : start + size])
        for start, size, label in zip(starts.tolist(), sizes.tolist(), labels.tolist(), strict=True)
    ]
    offsets = np.concatenate(([0], np.cumsum([len(record) for record in records])))
    return np.frombuffer(bytearray().join(records), np.uint8), offsets


def _split(payload: bytes) -> list[bytes]:
    pieces, begin = [], 0
    place = payload.find(MAGIC_BYTES)
    while place >= 0:
        if place & 3:
            place = payload.find(MAGIC_BYTES, place + 1)
        else:
            pieces.append(payload[begin:place])
            begin = place + len(MAGIC_BYTES)
            place = payload.find(MAGIC_BYTES, begin)
    return [*pieces, payload[begin:]]
