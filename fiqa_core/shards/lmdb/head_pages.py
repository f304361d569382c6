"""The two head pages of an LMDB file, of which each transaction writes one by turns."""

import os
from typing import NamedTuple

from fiqa_core.shards.lmdb.layout import (
    BRANCH,
    DATABASE,
    DIRTY,
    DUPSORT,
    LEAF,
    MAGIC,
    MAGIC_BYTES,
    MAX_DEPTH,
    META,
    META_FIELDS,
    NO_PAGE,
    OVERFLOW,
    PAGE,
    PAGE_HEADER,
    PAGE_SIZES,
    PLACE,
    PageError,
    Tree,
)

_LOOKED_AT = 1000  # pages


class Head(NamedTuple):
    """What the head pages say: bytes of a page, the main database, and why that may not be its newest state."""

    page_size: int
    tree: Tree
    doubt: str | None


def first_pages(descriptor: int, size: int) -> Head:
    """What the two head pages say: each transaction writes one of them, by turns."""
    begin = os.pread(descriptor, 2 * max(PAGE_SIZES), 0)
    first = _head(begin, 0)
    sizes = (first[0],) if first else PAGE_SIZES
    second = next((found for each in sizes if (found := _head(begin, each)) and found[0] == each), None)
    heads = [head for head in (first, second) if head]
    if not heads and (page_size := _guessed(descriptor)):
        return Head(page_size, Tree(NO_PAGE, 0, 0, False), "both head pages of the file are damaged")
    if not heads:
        cut_off = size < 2 * PAGE_SIZES[0] and begin[PAGE_HEADER : PAGE_HEADER + 4] == MAGIC_BYTES
        raise PageError(_not_lmdb(begin), truncated=cut_off or not size)
    newest = max(heads, key=lambda head: head[2])
    doubt = None
    if len(heads) < 2:
        doubt = (
            f"head page {1 if first else 0} is damaged. The state of transaction {newest[2]} is read, which the other "
            "head page tells; a later one may be lost"
        )
    return Head(newest[0], newest[1], doubt)


def _guessed(descriptor: int) -> int | None:
    """The size of a page, by pages that say their own number; None where there are none."""
    for page_size in PAGE_SIZES:
        for number in range(2, _LOOKED_AT):
            header = os.pread(descriptor, PAGE_HEADER, number * page_size)
            if len(header) == PAGE_HEADER:
                own, _, kind, _, _ = PAGE.unpack(header)
                if own == number and kind & ~DIRTY in (BRANCH, LEAF, OVERFLOW):
                    return page_size
    return None


def _head(data: bytes, at: int) -> tuple[int, Tree, int] | None:
    """Page size, main database and transaction of a head page; None if it is not one."""
    if len(data) < at + 152:
        return None
    number, _, kind, _, _ = PAGE.unpack_from(data, at)
    magic, version, _, _ = META_FIELDS.unpack_from(data, at + PAGE_HEADER)
    if magic != MAGIC or version != 1 or not kind & META or number != (at > 0):
        return None
    page_size = DATABASE.unpack_from(data, at + 40)[0]
    _, flags, depth, _, _, _, entries, root = DATABASE.unpack_from(data, at + 88)
    (transaction,) = PLACE.unpack_from(data, at + 144)
    if page_size not in PAGE_SIZES or depth > MAX_DEPTH or (depth == 0) != (root == NO_PAGE):
        return None
    return page_size, Tree(root, depth, entries, bool(flags & DUPSORT)), transaction


def _not_lmdb(begin: bytes) -> str:
    if begin[12:16] == MAGIC_BYTES or begin[8:12] == MAGIC_BYTES or begin[16:20] == MAGIC_BYTES[::-1]:
        return "an LMDB file of a 32-bit or big-endian machine; copy it with mdb_dump there and mdb_load here"
    if begin[16:20] == MAGIC_BYTES:
        version = int.from_bytes(begin[20:24], "little")
        if version != 1:
            return f"an LMDB file of version {version}, expected 1 (LMDB 0.9); copy it with mdb_dump and mdb_load"
        return "both head pages of the LMDB file are damaged or cut off"
    if b"Standard Jet DB" in begin[:64] or b"Standard ACE DB" in begin[:64]:
        return "a Microsoft Access database, not an LMDB file"
    found = begin[16:20].hex() or "nothing"
    expected = MAGIC_BYTES.hex()
    return f"not an LMDB file: expected {expected} at byte 16, found {found}. (data.mdb has the data, not lock.mdb)"
