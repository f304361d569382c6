"""RecordIO by the book, in the fewest lines: a reader and a writer that share nothing with the product's."""

import struct
from collections.abc import Iterable
from pathlib import Path

MAGIC = struct.pack("<I", 0xCED7230A)


def payload(image: bytes, label: float | tuple[float, ...] = 0.0, key: int = 0) -> bytes:
    """An image record: header with one label, or with several behind it, and the image."""
    if isinstance(label, tuple):
        return struct.pack(f"<IfQQ{len(label)}f", len(label), 0, key, 0, *label) + image
    return struct.pack("<IfQQ", 0, label, key, 0) + image


def part(data: bytes, kind: int = 0) -> bytes:
    """One part with its padding."""
    return MAGIC + struct.pack("<I", kind << 29 | len(data)) + data + bytes(-len(data) % 4)


def record(data: bytes) -> bytes:
    """A record, split where the magic number lies in it at a multiple of 4."""
    pieces, last = [], 0
    for at in range(0, len(data) - 3, 4):
        if data[at : at + 4] == MAGIC:
            pieces.append(data[last:at])
            last = at + 4
    pieces.append(data[last:])
    if len(pieces) == 1:
        return part(data)
    kinds = [1, *[2] * (len(pieces) - 2), 3]
    return b"".join(part(piece, kind) for piece, kind in zip(pieces, kinds, strict=True))


def write_rec(path: Path, payloads: Iterable[bytes], index: bool = True) -> list[int]:
    """A `.rec` (and the `.idx` with keys from 0); the bytes at which its records begin."""
    offsets, data = [], b""
    for one in payloads:
        offsets.append(len(data))
        data += record(one)
    path.write_bytes(data)
    if index:
        path.with_suffix(".idx").write_text("".join(f"{n}\t{at}\n" for n, at in enumerate(offsets)))
    return offsets


def read_rec(data: bytes) -> dict[int, tuple[tuple[float, ...], bytes]]:
    """(labels, image) of every record by the byte at which it begins."""
    found, at = {}, 0
    while at < len(data):
        start, whole = at, b""
        while True:
            magic, value = struct.unpack_from("<4sI", data, at)
            assert magic == MAGIC
            kind, size = value >> 29, value & 0x1FFFFFFF
            whole += (MAGIC if kind in (2, 3) else b"") + data[at + 8 : at + 8 + size]
            at += 8 + size + -size % 4
            if kind in (0, 3):
                break
        flag, label = struct.unpack_from("<If", whole)
        labels = struct.unpack_from(f"<{flag}f", whole, 24) if flag else (label,)
        found[start] = (labels, whole[24 + 4 * flag :])
    return found
