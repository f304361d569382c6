"""Sparse files in a tar: which place each stored byte has, in GNU tar's old encoding and in pax 0.0, 0.1 and 1.0.

Source: GNU tar manual, "Storing Sparse Files".
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from fiqa_core.errors import FiqaError
from fiqa_core.shards.tar.header import BLOCK, MAX_DIGITS, SPARSE_MAP, number_of

_OLD_ENTRIES, _OLD_MORE, _OLD_REAL_SIZE = 386, 482, 483
_ENTRY = 24  # offset and length, 12 bytes each
_MORE_ENTRIES, _MORE_MORE = 21, 504
_MAX_MAP_BLOCKS = 16_384
MAX_EXTENTS = 1 << 20  # an expanded image is at most some ten megabytes; more pieces than this are hostile

Extents = list[tuple[int, int]]


class Sparse(NamedTuple):
    """A sparse file. `size`: bytes when expanded. `extents`: (offset, length) of each stored piece, None if the map is
    in front of the stored bytes (pax 1.0)."""

    size: int
    extents: Extents | None


class SparseMapError(FiqaError, ValueError):
    """The map of a sparse file is not valid."""


NO_MAP = Sparse(-1, None)  # of a sparse file whose map holds no numbers


def read_old_map(header: bytes, next_block: Callable[[], bytes]) -> Sparse:
    """The map of a header of type `S`; `next_block` reads the blocks behind it that hold the rest of the map."""
    sparse, more = old_map(header)
    extents = list(sparse.extents or [])
    for _ in range(_MAX_MAP_BLOCKS):
        if not more:
            return Sparse(sparse.size, extents)
        found, more = old_map_block(next_block())
        extents += found
    return NO_MAP


def old_map(header: bytes) -> tuple[Sparse, bool]:
    """The map in a header of type `S`, and whether a block with more of it follows."""
    entries = [header[at : at + _ENTRY] for at in range(_OLD_ENTRIES, _OLD_MORE, _ENTRY)]
    size = number_of(header[_OLD_REAL_SIZE : _OLD_REAL_SIZE + 12])
    return Sparse(size, _old_extents(entries)), header[_OLD_MORE] != 0


def old_map_block(block: bytes) -> tuple[Extents, bool]:
    """The part of a map in a block behind the header, and whether another block follows."""
    entries = [block[at : at + _ENTRY] for at in range(0, _MORE_ENTRIES * _ENTRY, _ENTRY)]
    return _old_extents(entries), block[_MORE_MORE] != 0


def _old_extents(entries: list[bytes]) -> Extents:
    used = [entry for entry in entries if entry[0] or entry[12]]
    return [(number_of(entry[:12]), number_of(entry[12:])) for entry in used]


def pax_sparse(pax: Mapping[bytes, bytes]) -> Sparse | None:
    """The sparse file that pax attributes describe; None if they do not describe one.

    Raises:
        SparseMapError: the numbers are not numbers.
    """
    size = pax.get(b"GNU.sparse.realsize", pax.get(b"GNU.sparse.size"))
    if size is None:
        return None
    text = pax.get(SPARSE_MAP)
    if text is not None:
        return Sparse(_whole(size), _pairs(text.split(b",") if text else []))
    if pax.get(b"GNU.sparse.major") == b"1":
        return Sparse(_whole(size), None)
    return Sparse(_whole(size), []) if b"GNU.sparse.numblocks" in pax else None


def expanded(sparse: Sparse, stored: bytes) -> bytes:
    """The file's bytes. Raises SparseMapError if map and stored bytes do not fit together."""
    if sparse.size < 0:
        raise SparseMapError("no numbers")
    extents, place = sparse.extents, 0
    if extents is None:
        extents, place = _leading_map(stored)
    whole = bytearray(sparse.size)
    end = 0
    for offset, length in extents:
        if offset < end or length < 0 or offset + length > sparse.size or place + length > len(stored):
            raise SparseMapError(f"the piece of {length} bytes at byte {offset} does not fit in")
        whole[offset : offset + length] = stored[place : place + length]
        place += length
        end = offset + length
    if place != len(stored):
        raise SparseMapError(f"{len(stored)} bytes are stored, the map has places for {place}")
    return bytes(whole)


def _leading_map(stored: bytes) -> tuple[Extents, int]:
    """The map in front of the stored bytes, a decimal number a line, and where it ends (at a whole block)."""
    first, _, _ = stored[: MAX_DIGITS + 1].partition(b"\n")
    count = _whole(first)
    if count > min(MAX_EXTENTS, len(stored)):
        raise SparseMapError(f"a map of {count} pieces")
    end = len(first) + 1
    for _ in range(2 * count):
        end = stored.find(b"\n", end, end + MAX_DIGITS + 1) + 1
        if not end:
            raise SparseMapError("its map breaks off")
    lines = stored[len(first) + 1 : end].split(b"\n")[:-1]
    return _pairs(lines), -(-end // BLOCK) * BLOCK


def _pairs(numbers: list[bytes]) -> Extents:
    if len(numbers) % 2 or len(numbers) > 2 * MAX_EXTENTS:
        raise SparseMapError(f"a map of {len(numbers)} numbers")
    values = [_whole(number) for number in numbers]
    return list(zip(values[::2], values[1::2], strict=True))


def _whole(digits: bytes) -> int:
    if not digits.isdigit() or len(digits) > MAX_DIGITS:
        raise SparseMapError(f"{digits[:30]!r} is not a number")
    return int(digits)
