"""The frame of a TFRecord: the data's length and its checksum, the data, and its checksum.

Little-endian: uint64 length, uint32 masked CRC-32C of these 8 bytes, the data, uint32 masked CRC-32C of the data.
Source: TensorFlow's `tensorflow/core/lib/io/record_writer.h`.
"""

import struct
from functools import cache

import google_crc32c
import numpy as np

HEADER = struct.Struct("<QI")
LENGTH = struct.Struct("<Q")
CHECKSUM = struct.Struct("<I")
FRAME_BYTES = HEADER.size + CHECKSUM.size
_MASK_DELTA = 0xA282EAD8


def masked(crc: int) -> int:
    """A CRC-32C as TFRecord stores it: rotated and shifted, so that a checksum of checksums says something."""
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


def checksum(data: bytes) -> int:
    """The masked CRC-32C of bytes."""
    crc: int = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


def stated_length(header: bytes) -> int | None:
    """The length that a header states; None where its checksum does not fit, or it has fewer than 12 bytes."""
    if len(header) < HEADER.size:
        return None
    length, crc = HEADER.unpack_from(header)
    return length if checksum(header[: LENGTH.size]) == crc else None


def framed(data: bytes) -> bytes:
    """Data as one record."""
    length = LENGTH.pack(len(data))
    return b"".join((length, CHECKSUM.pack(checksum(length)), data, CHECKSUM.pack(checksum(data))))


def possible_headers(data: bytes) -> np.ndarray:
    """Places in `data` at which a header with a fitting checksum stands, of a length below 4 GiB (int64, ascending)."""
    count = len(data) - HEADER.size + 1
    if count <= 0:
        return np.empty(0, np.int64)
    # In a header of such a length four zeros follow on the low half of the length; few other places have these.
    zero = np.frombuffer(data, np.uint8) == 0
    high = zero[4 : 4 + count] & zero[5 : 5 + count] & zero[6 : 6 + count] & zero[7 : 7 + count]
    places = np.flatnonzero(high)
    raw = np.frombuffer(data, np.uint8)
    crc = np.full(len(places), _crc_of_zeros(), np.uint32)
    stored = np.zeros(len(places), np.uint32)
    for byte, table in enumerate(_tables()):
        crc ^= table[raw[places + byte]]
        stored |= raw[places + LENGTH.size + byte].astype(np.uint32) << np.uint32(8 * byte)
    rotated = (crc >> np.uint32(15) | crc << np.uint32(17)) + np.uint32(_MASK_DELTA)
    found: np.ndarray = places[rotated == stored]
    return found


@cache
def _crc_of_zeros() -> int:
    return int(google_crc32c.value(bytes(LENGTH.size)))


@cache
def _tables() -> list[np.ndarray]:
    """For each of the low four bytes of a length: what each of its values changes in the CRC (uint32, 256).

    A CRC is linear: that of `a ^ b` is the CRC of `a` with these changes for the bytes of `b`.
    """
    zeros = _crc_of_zeros()
    return [
        np.array([google_crc32c.value(LENGTH.pack(value << 8 * byte)) ^ zeros for value in range(256)], np.uint32)
        for byte in range(4)
    ]
