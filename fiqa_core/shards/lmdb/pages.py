"""The pages of an LMDB file, each checked before anything in it is believed.

The `lmdb` package maps the file and follows page numbers as they stand: in a file that is cut off or damaged, that ends
the process (SIGBUS, SIGSEGV). Here pages are read, with `pread`, and a number is followed only to where the file has a
page that says it is that one. So damage costs what it touches, and no lock file is needed.
"""

import os
import struct
from collections.abc import Iterator

from fiqa_core.shards.lmdb.head_pages import first_pages
from fiqa_core.shards.lmdb.layout import (
    BIG,
    BRANCH,
    DATABASE,
    DIRTY,
    DUPSORT,
    LEAF,
    META,
    NAMED,
    NODE,
    OVERFLOW,
    OVERFLOW_PAGE,
    PAGE,
    PAGE_HEADER,
    PLACE,
    SEVERAL,
    Big,
    Node,
    PageError,
    Tree,
)
from fiqa_core.wording import counted

_LONGEST_RUN = 1 << 20
_MOST_AT_ONCE = 4 << 20


class PagedFile:
    """An LMDB file.

    Attributes:
        page_size: bytes. pages: whole pages of the file. tree: the main database.
        doubt: why the newest state of the database may not be the one that `tree` is; None: it is.

    Raises:
        PageError: it is not an LMDB file, or both its first pages are damaged.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.size = os.fstat(descriptor).st_size
        found = first_pages(descriptor, self.size)
        self.page_size = found.page_size
        self.pages = self.size // self.page_size
        self.tree = found.tree
        self.doubt = found.doubt

    def read(self, at: int, count: int) -> bytes:
        """Bytes of the file; fewer at its end."""
        data = os.pread(self._descriptor, count, at)
        while data and len(data) < count and (more := os.pread(self._descriptor, count - len(data), at + len(data))):
            data += more
        return data

    def page(self, number: int, kind: int) -> bytes:
        """A page of a tree.

        Raises:
            PageError: it lies behind the end of the file, or is not of this kind (`BRANCH`, `LEAF`).
        """
        if number >= self.pages:
            raise PageError(f"page {number} lies behind the end of the file ({counted(self.pages, 'page')})", True)
        data = self.read(number * self.page_size, self.page_size)
        problem = "the file became shorter" if len(data) < self.page_size else page_problem(data, number, kind)
        if problem:
            raise PageError(f"page {number} (byte {number * self.page_size}): {problem}")
        return data

    def value(self, big: Big) -> bytes:
        """The bytes of a value that has pages of its own.

        Raises:
            PageError: its first page is not one of such a value, or the file ends before the value does.
        """
        number, size = big
        count = (PAGE_HEADER - 1 + size) // self.page_size + 1
        self.check(big)
        begin = number * self.page_size
        data = os.pread(self._descriptor, PAGE_HEADER + size, begin)
        if len(data) < PAGE_HEADER + size:
            data = self.read(begin, PAGE_HEADER + size)
        if len(data) == PAGE_HEADER + size:
            own, _, flags, pages = OVERFLOW_PAGE.unpack_from(data)
            if own == number and flags & OVERFLOW and pages == count:
                return data[PAGE_HEADER:]
        raise PageError(f"page {number} (byte {begin}): {self._overflow_problem(big, data)}")

    def values(self, bigs: list[Big]) -> dict[int, bytes]:
        """Values by their first page; those that follow on one another are read at once.

        What is damaged is left out: `value` says what is wrong with it. Of very much data only a part is read.
        """
        found: dict[int, bytes] = {}
        page_size, unpack = self.page_size, OVERFLOW_PAGE.unpack_from
        for run in _runs(sorted(bigs), page_size):
            first, last = run[0].page, run[-1]
            data = self.read(first * page_size, (last.page - first) * page_size + PAGE_HEADER + last.size)
            for number, size in run:
                at = (number - first) * page_size
                begin = at + PAGE_HEADER
                if begin + size <= len(data):
                    own, _, flags, pages = unpack(data, at)
                    if own == number and flags & OVERFLOW and pages == (PAGE_HEADER - 1 + size) // page_size + 1:
                        found[number] = data[begin : begin + size]
        return found

    def check(self, big: Big) -> None:
        """Raise PageError if a value does not lie within the file."""
        end = big.page * self.page_size + PAGE_HEADER + big.size
        if big.page < 2 or end > self.size:
            raise PageError(
                f"its {big.size} bytes should be in pages {big.page} to {big.page + self._pages_of(big) - 1}, but the "
                f"file has {counted(self.pages, 'page')}",
                end > self.size,
            )

    def _pages_of(self, big: Big) -> int:
        return (PAGE_HEADER - 1 + big.size) // self.page_size + 1

    def _overflow_problem(self, big: Big, data: bytes) -> str:
        if len(data) < PAGE_HEADER + big.size:
            return "the file became shorter"
        number, _, flags, count = OVERFLOW_PAGE.unpack_from(data)
        if number != big.page or not flags & OVERFLOW:
            return f"expected the beginning of a large value, found {_described(number, flags)}"
        return f"a value of {counted(count, 'page')} is here, expected one of {self._pages_of(big)}"


def _runs(bigs: list[Big], page_size: int) -> Iterator[list[Big]]:
    """Values in the order of their pages, in runs without a gap that are not too long to be held."""
    run: list[Big] = []
    following = left = 0
    total = _MOST_AT_ONCE
    for big in bigs:
        if big.size > _LONGEST_RUN or big.page < 2 or big.page >= 1 << 48:
            continue
        total -= big.size
        if total < 0:
            break
        if big.page != following or big.size > left:
            if run:
                yield run
            run, left = [], _LONGEST_RUN
        run.append(big)
        left -= big.size
        following = big.page + (PAGE_HEADER - 1 + big.size) // page_size + 1
    if run:
        yield run


def page_problem(data: bytes, number: int, kind: int) -> str:
    """What is wrong with a page of a tree; "" for a sound one."""
    own, _, flags, lower, upper = PAGE.unpack_from(data)
    wanted = "branch" if kind == BRANCH else "leaf"
    if own != number or flags & ~DIRTY != kind:
        return f"expected a {wanted} page, found {_described(own, flags)}"
    if not PAGE_HEADER <= lower <= upper <= len(data) or lower & 1:
        return f"a {wanted} page whose bounds are {lower} and {upper}"
    return ""


def children(page: bytes) -> list[int]:
    """Numbers of the pages below a branch page, in the order of their keys; -1 for one that cannot be read."""
    found = []
    for at in _offsets(page):
        if not PAGE_HEADER <= at <= len(page) - NODE.size:
            found.append(-1)
            continue
        low, high, flags, _ = NODE.unpack_from(page, at)
        found.append(low | high << 16 | flags << 32)
    return found


def keys(page: bytes) -> list[bytes]:
    """The keys of a leaf page, as `nodes` gives them."""
    found = []
    size, unpack = len(page), NODE.unpack_from
    for at in _offsets(page):
        key_size = unpack(page, at)[3] if PAGE_HEADER <= at <= size - NODE.size else size
        begin = at + NODE.size
        found.append(page[begin : begin + key_size] if begin + key_size <= size else b"")
    return found


def nodes(page: bytes) -> list[Node]:
    """Keys and values of a leaf page, in the order of the keys."""
    found: list[Node] = []
    size, unpack = len(page), NODE.unpack_from
    for at in _offsets(page):
        if not PAGE_HEADER <= at <= size - NODE.size:
            found.append(Node(b"", None, f"its place in the page, {at}, is not one"))
            continue
        low, high, flags, key_size = unpack(page, at)
        begin = at + NODE.size + key_size
        if begin > size:
            found.append(Node(b"", None, f"its key of {key_size} bytes does not end in its page"))
            continue
        key = page[at + NODE.size : begin]
        if flags == BIG and begin + PLACE.size <= size:
            found.append(Node(key, Big(PLACE.unpack_from(page, begin)[0], low | high << 16)))
        else:
            found.append(_small(page, key, begin, low | high << 16, flags))
    return found


def _small(page: bytes, key: bytes, begin: int, length: int, flags: int) -> Node:
    """A node whose value lies in its page, or should."""
    if flags & BIG:
        return Node(key, None, "the place of its value does not lie in its page")
    if begin + length > len(page):
        return Node(key, None, f"its value of {length} bytes does not end in its page")
    if flags & NAMED:
        return _named(key, page[begin : begin + length])
    if flags & SEVERAL:
        return Node(key, None, "several values are stored under this key (MDB_DUPSORT); one is expected")
    return Node(key, page[begin : begin + length])


def _named(key: bytes, data: bytes) -> Node:
    if len(data) != DATABASE.size:
        return Node(key, None, "several values are stored under this key (MDB_DUPSORT); one is expected")
    _, flags, depth, _, _, _, entries, root = DATABASE.unpack(data)
    return Node(key, Tree(root, depth, entries, bool(flags & DUPSORT)))


def _offsets(page: bytes) -> tuple[int, ...]:
    lower = PAGE.unpack_from(page)[3]
    count = (lower - PAGE_HEADER) // 2
    return struct.unpack_from(f"<{count}H", page, PAGE_HEADER)


def _described(number: int, flags: int) -> str:
    kinds = {BRANCH: "a branch page", LEAF: "a leaf page", OVERFLOW: "a large value", META: "a head page"}
    return f"{kinds.get(flags & ~DIRTY, f'flags {flags:#06x}')} that says it is page {number}"
