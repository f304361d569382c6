"""The numbers and structures of an LMDB file.

Source: LMDB 0.9's `mdb.c` (`MDB_page`, `MDB_node`, `MDB_meta`, `MDB_db`); the layout is that of 64-bit machines.
"""

import struct
from typing import NamedTuple

from fiqa_core.errors import FiqaError

PAGE_HEADER = 16
BRANCH, LEAF, OVERFLOW, META = 0x01, 0x02, 0x04, 0x08
BIG, NAMED, SEVERAL = 0x01, 0x02, 0x04  # of a node: its data are elsewhere, a database, several values
NO_PAGE = (1 << 64) - 1
MAX_DEPTH = 32
DUPSORT = 0x04
DIRTY = 0x10 | 0x4000 | 0x8000
PAGE = struct.Struct("<QHHHH")  # number, unused, flags, lower, upper
OVERFLOW_PAGE = struct.Struct("<QHHI")  # as a page, but for the number of pages at its end
NODE = struct.Struct("<HHHH")  # low and high half of the size, flags, bytes of the key
PLACE = struct.Struct("<Q")
META_FIELDS = struct.Struct("<IIQQ")
DATABASE = struct.Struct("<IHHQQQQQ")
MAGIC = 0xBEEFC0DE
MAGIC_BYTES = struct.pack("<I", MAGIC)
PAGE_SIZES = (4096, 16384, 65536, 8192, 32768, 2048, 1024, 512)


class PageError(FiqaError, ValueError):
    """A page cannot be read; `truncated`: the file ends before it."""

    def __init__(self, message: str, truncated: bool = False) -> None:
        super().__init__(message)
        self.truncated = truncated


class Tree(NamedTuple):
    """One database: `root` is its first page (`NO_PAGE`: it is empty), `depth` the levels of its tree, `entries` the
    values that it says it has; `several`: one key may have more than one of them."""

    root: int
    depth: int
    entries: int
    several: bool


class Big(NamedTuple):
    """A value of `size` bytes that has pages of its own, from `page` on."""

    page: int
    size: int


class Node(NamedTuple):
    """A key and its value; `fault` says why there is no value that can be read."""

    key: bytes
    value: bytes | Big | Tree | None
    fault: str = ""
