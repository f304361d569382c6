"""Find the members of a plain tar in a block of its bytes all at once, with numpy.

`stream.py` defines how a tar is read. This module only finds the simple case fast: headers with magic and a fitting
checksum that follow each other without a gap. It stops before anything else, and the caller reads the archive with
`stream.py` from its start. Source: as in `stream.py`.
"""

from typing import NamedTuple

import numpy as np

from fiqa_core.shards.tar.header import BLOCK

_MAGIC_AT, _KIND_AT, _PREFIX_AT = 257, 156, 345
_NAME = slice(0, 100)
_SIZE = slice(124, 136)
_CHECKSUM = slice(148, 156)
_LOW_BYTES = np.uint64(0x00FF00FF00FF00FF)
FILE, OLD_FILE, FOLDER, PAX = (ord(kind) for kind in ("0", "\0", "5", "x"))
_PLAIN_KINDS = (FILE, OLD_FILE, FOLDER, PAX)


class PlainMembers(NamedTuple):
    """Consecutive regular files, and where the scan ended.

    Attributes:
        names: as bytes, without padding.
        begin, end: int64, header to end of padding, in bytes of the block; without a pax header before it.
        sizes: int64, bytes of content; it begins behind the header.
        done: bytes of the block that were understood; there a member begins, or the end of the archive.
        stopped: what follows is not a plain member (nor one cut off by the end of the block).
    """

    names: list[bytes]
    begin: np.ndarray
    end: np.ndarray
    sizes: np.ndarray
    done: int
    stopped: bool


def scan(data: np.ndarray) -> PlainMembers:
    """The members in uint8 `data`, which begins with a member."""
    blocks = data[: len(data) // BLOCK * BLOCK].reshape(-1, BLOCK)
    places, heads, sizes = _headers(blocks)
    begin = places * BLOCK
    end = begin + BLOCK + -(-sizes // BLOCK) * BLOCK
    follows = np.concatenate(([0], end[:-1])) == begin
    count = len(begin) if follows.all() else int(np.argmin(follows))
    whole = int(np.searchsorted(end[:count], len(data), "right"))
    plain = _plain(blocks, places[:whole], heads[:whole], sizes[:whole])
    kept = whole if plain.all() else int(np.argmin(plain))
    kinds = heads[:kept, _KIND_AT]
    if kept and kinds[-1] == PAX:
        # It belongs to the next member, which is not in this block.
        kept -= 1
        kinds = kinds[:-1]
    cut_off = whole < count or (bool(whole) and whole == count and end[whole - 1] == len(data))
    files = np.flatnonzero((kinds == FILE) | (kinds == OLD_FILE))
    names = np.ascontiguousarray(heads[files, _NAME]).view("S100").ravel().tolist()
    return PlainMembers(
        names,
        begin[files],
        end[files],
        sizes[files],
        int(end[kept - 1]) if kept else 0,
        not (plain.all() and (cut_off or not len(data))),
    )


def _headers(blocks: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Numbers of the blocks that may be headers, the headers (n, 512), and their sizes."""
    places = np.flatnonzero(blocks[:, _MAGIC_AT] == ord("u"))
    heads = blocks[places]
    good = (heads[:, _MAGIC_AT : _MAGIC_AT + 5] == np.frombuffer(b"ustar", np.uint8)).all(axis=1)
    stored = _octal(heads[:, _CHECKSUM])
    field = heads[:, _CHECKSUM].sum(axis=1, dtype=np.int64)
    good &= (_sums(heads) - field + 8 * ord(" ") == stored) & (stored > 0)
    sizes = _octal(heads[:, _SIZE])
    good &= sizes >= 0
    return places[good], heads[good], sizes[good]


def _plain(blocks: np.ndarray, places: np.ndarray, heads: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Which members are fully described by their own header."""
    kinds = heads[:, _KIND_AT]
    name = heads[:, _NAME]
    # A name ends at its first NUL; names with other bytes behind it are left to `stream.py`.
    padded = ((name[:, 1:] == 0) | (name[:, :-1] != 0)).all(axis=1)
    good: np.ndarray = np.isin(kinds, _PLAIN_KINDS) & padded & (heads[:, _PREFIX_AT] == 0)
    good &= (kinds != FOLDER) | (sizes == 0)
    pax = np.flatnonzero(kinds == PAX)
    if len(pax):
        good[pax] &= (sizes[pax] <= BLOCK) & (sizes[pax] > 0)
        good[pax[:-1]] &= pax[1:] != pax[:-1] + 1
        inside = blocks[np.minimum(places[pax] + 1, len(blocks) - 1)]
        content = inside.tobytes()
        # As in `stream.py`: without one of these, a pax header changes nothing.
        if b"path=" in content or b"size=" in content or b"GNU.sparse." in content:
            rows = [row.tobytes() for row in inside]
            spoils = [b"path=" in text or b"size=" in text or b"GNU.sparse." in text for text in rows]
            good[pax] &= ~np.array(spoils)
    return good


def _sums(heads: np.ndarray) -> np.ndarray:
    """int64 sums of the 512 bytes of each row, four 16-bit sums at a time (at most 64 x 510 each)."""
    words = np.ascontiguousarray(heads).view(np.uint64)
    lanes = ((words & _LOW_BYTES) + (words >> np.uint64(8) & _LOW_BYTES)).sum(axis=1, dtype=np.uint64)
    sums: np.ndarray = lanes.view(np.uint16).reshape(-1, 4).sum(axis=1, dtype=np.int64)
    return sums


def _octal(fields: np.ndarray) -> np.ndarray:
    """int64 numbers in octal digits with blanks around them; -1 for anything else."""
    digit = (fields >= ord("0")) & (fields <= ord("7"))
    blank = (fields == 0) | (fields == ord(" "))
    runs = digit[:, 0] + (digit[:, 1:] & ~digit[:, :-1]).sum(axis=1)
    value = np.zeros(len(fields), np.int64)
    for column in range(fields.shape[1]):
        value = np.where(digit[:, column], value * 8 + (fields[:, column] & 7), value)
    return np.where((digit | blank).all(axis=1) & (runs == 1), value, -1)
