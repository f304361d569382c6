"""The leaf pages of a database in the order of their keys, and those that a damaged page above them hides."""

from collections.abc import Iterator
from typing import NamedTuple

from fiqa_core.shards.lmdb.layout import BRANCH, LEAF, MAX_DEPTH, NO_PAGE, OVERFLOW, PAGE_HEADER, Node, PageError, Tree
from fiqa_core.shards.lmdb.pages import PagedFile, children, nodes, page_problem
from fiqa_core.wording import counted

_SCANNED = 1 << 20  # bytes at once


class Lost(NamedTuple):
    """Pages that cannot be read, one after the other in the order of keys; what was in them is not known."""

    reason: str
    pages: int
    truncated: bool

    @property
    def message(self) -> str:
        """For the row that stands for them."""
        more = f" (and {counted(self.pages - 1, 'page')} behind it)" if self.pages > 1 else ""
        return f"an unknown number of records is lost: {self.reason}{more}"


def leaves(file: PagedFile, tree: Tree) -> list[int | Lost]:
    """Numbers of a database's leaf pages in the order of their keys, and what is lost between them.

    Of the leaf pages only the first bytes are read.
    """
    found: list[int | Lost] = []
    for each in _below(file, tree.root, tree.depth) if tree.root != NO_PAGE else ():
        last = found[-1] if found else None
        if isinstance(each, Lost) and isinstance(last, Lost):
            found[-1] = last._replace(pages=last.pages + 1, truncated=last.truncated or each.truncated)
        else:
            found.append(each)
    if file.doubt:
        found.append(Lost(file.doubt, 1, file.pages < 2))
    return found


def strays(file: PagedFile, pages: list[int | Lost]) -> list[int]:
    """Numbers of leaf pages that are in the file, but not among those to which its tree leads. The file is read."""
    seen = bytearray(file.pages // 8 + 1)
    for number in pages:
        if isinstance(number, int):
            seen[number >> 3] |= 1 << (number & 7)
    return list(_strays(file, seen))


def find(file: PagedFile, tree: Tree, key: bytes) -> Node | None:
    """The node of a key; None where there is none, or the way to it is damaged."""
    number, depth = tree.root, tree.depth
    if number == NO_PAGE:
        return None
    try:
        while depth > 1:
            number, depth = _child(file.page(number, BRANCH), key), depth - 1
        return next((node for node in nodes(file.page(number, LEAF)) if node.key == key), None)
    except PageError:
        return None


def _child(page: bytes, key: bytes) -> int:
    below = children(page)
    chosen = below[0] if below else -1
    for number, separator in zip(below[1:], _separators(page)[1:], strict=True):
        if separator > key:
            break
        chosen = number
    if chosen < 0:
        raise PageError("a branch page leads nowhere")
    return chosen


def _separators(page: bytes) -> list[bytes]:
    """The keys of a branch page; that of its first node is empty."""
    found = []
    count = (int.from_bytes(page[12:14], "little") - PAGE_HEADER) // 2
    for place in range(count):
        start = PAGE_HEADER + 2 * place
        at = int.from_bytes(page[start : start + 2], "little")
        size = int.from_bytes(page[at + 6 : at + 8], "little")
        found.append(page[at + 8 : at + 8 + size])
    return found


def _below(file: PagedFile, root: int, depth: int) -> Iterator[int | Lost]:
    """Leaf pages below a page. Each page is entered once, however often it is named."""
    seen = bytearray(file.pages // 8 + 1)
    waiting = [(root, min(depth, MAX_DEPTH))]
    while waiting:
        number, level = waiting.pop()
        if number < 0:
            yield Lost("the place of a node in a branch page is not one", 1, False)
            continue
        if number < file.pages and seen[number >> 3] >> (number & 7) & 1:
            yield Lost(f"page {number} is named more than once", 1, False)
            continue
        try:
            if level > 1:
                below = children(file.page(number, BRANCH))
                waiting += [(each, level - 1) for each in reversed(below)]
            else:
                _refuse_header(file, number)
                yield number
            seen[number >> 3] |= 1 << (number & 7)
        except PageError as error:
            yield Lost(str(error), 1, error.truncated)


def _refuse_header(file: PagedFile, number: int) -> None:
    """Raise PageError if a leaf page is not one, by its first bytes: they are all that is read of it here."""
    if number >= file.pages:
        raise PageError(f"page {number} lies behind the end of the file ({counted(file.pages, 'page')})", True)
    header = file.read(number * file.page_size, PAGE_HEADER)
    problem = page_problem(header.ljust(file.page_size, b"\0"), number, LEAF)
    if problem:
        raise PageError(f"page {number} (byte {number * file.page_size}): {problem}")


def _strays(file: PagedFile, seen: bytearray) -> Iterator[int]:
    """Leaf pages of the file that were not seen, as far as their first bytes tell."""
    number, step = 2, max(1, _SCANNED // file.page_size)
    base, data = 0, b""
    while number < file.pages:
        if not base <= number < base + len(data) // file.page_size:
            base, data = number, file.read(number * file.page_size, step * file.page_size)
            if len(data) < file.page_size:
                return
        start = (number - base) * file.page_size
        page = data[start : start + file.page_size]
        flags = int.from_bytes(page[10:12], "little")
        if int.from_bytes(page[:8], "little") == number and flags & OVERFLOW:
            # The content of a value can look like anything.
            number += max(1, min(int.from_bytes(page[12:16], "little"), file.pages))
            continue
        if not seen[number >> 3] >> (number & 7) & 1 and not page_problem(page, number, LEAF) and _has_keys(page):
            yield number
        number += 1


def _has_keys(page: bytes) -> bool:
    found = nodes(page)
    return bool(found) and all(node.key for node in found)
