"""What is known of a database before its images are read: where its records are, and how many."""

import hashlib
import logging
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from fiqa_core.shards.lmdb.layout import LEAF, Node, PageError, Tree
from fiqa_core.shards.lmdb.listing import BOOKKEEPING, Listing, read_listing
from fiqa_core.shards.lmdb.pages import PagedFile, keys, nodes
from fiqa_core.shards.lmdb.tree import Lost, find, leaves, strays
from fiqa_core.storage import open_read
from fiqa_core.wording import counted

_log = logging.getLogger(__name__)


class NoDatabaseError(PageError):
    """The file holds no database of the name that `--image-field` gives."""


class Stray(NamedTuple):
    """A leaf page that no other page leads to: its number, and which of its nodes are records (int64)."""

    page: int
    nodes: np.ndarray


class Database(NamedTuple):
    """One database of a file.

    Attributes:
        tree: its root. listing: of ViT-FIQA's layout; None for a plain database.
        pages: leaf pages in the order of keys, and what is lost. strays: more of them, where pages are damaged.
        absent: int64, keys that are listed without a value, as places of the listing.
        counts: records of each place: of `pages` and `strays` one by one, and of the absent keys together.
    """

    tree: Tree
    listing: Listing | None
    pages: list[int | Lost]
    strays: list[Stray]
    absent: np.ndarray
    counts: list[int]


@lru_cache(maxsize=1)
def open_database(url: str, version: str, name: str) -> Database:
    """Look at all leaf pages and at the listing; made once for all units that a process reads one after the other.

    Args:
        name: of a database inside the main one; "": the main one.

    Raises:
        PageError: the file cannot be read. NoDatabaseError: it has no database of this name.
    """
    with open_read(url, version) as stream:
        file = PagedFile(stream.fileno())
        tree = _named(file, name)
        pages = leaves(file, tree)
        more = strays(file, pages) if any(isinstance(page, Lost) for page in pages) else []
        found = _counted(file, tree, pages, more)
        if found.nodes != tree.entries and not any(isinstance(page, Lost) for page in pages) and not tree.several:
            reason = f"the database says that it has {counted(tree.entries, 'record')}, but {found.nodes:,} are found"
            pages.append(Lost(reason, 1, False))
            more = strays(file, pages)
            found = _counted(file, tree, pages, more)
        used = list(_strays(file, tree, more))
        counts = found.counts + [found.count(_chosen(file, stray)) for stray in used]
        absent = found.absent()
        listing = found.listing
        if listing is not None and listing.problem:
            _log.warning("%s: %s", url, listing.problem)
        return Database(tree, listing, pages, used, absent, counts + [len(absent)] * bool(len(absent)))


def _counted(file: PagedFile, tree: Tree, pages: list[int | Lost], more: list[int]) -> "_Found":
    """The records of leaf pages, and the listing, which may lie in one of `more`, lost to the tree."""
    found = _Found(read_listing(file, lambda key: find(file, tree, key) or _find_in(file, more, key)))
    found.counts = [1 if isinstance(page, Lost) else found.count(keys(file.page(page, LEAF))) for page in pages]
    return found


def _find_in(file: PagedFile, pages: list[int], key: bytes) -> Node | None:
    for page in pages:
        if key in keys(file.page(page, LEAF)):
            return next(node for node in nodes(file.page(page, LEAF)) if node.key == key)
    return None


def _chosen(file: PagedFile, stray: Stray) -> list[bytes]:
    there = keys(file.page(stray.page, LEAF))
    return [there[node] for node in stray.nodes.tolist()]


class _Found:
    """Counts records, and ticks them off in the listing."""

    def __init__(self, listing: Listing | None) -> None:
        self.listing = listing
        self.counts: list[int] = []
        self._listed = np.zeros(0 if listing is None else len(listing.keys), bool)
        self.nodes = 0

    def count(self, there: list[bytes]) -> int:
        """The number of keys that are images."""
        self.nodes += len(there)
        if self.listing is None:
            return len(there)
        places = self.listing.of(there)
        self._listed[places[places >= 0]] = True
        return len(there) - sum(key in BOOKKEEPING for key in there)

    def absent(self) -> np.ndarray:
        """Keys of the listing that were not found, in its order."""
        places = np.flatnonzero(~self._listed)
        return places if self.listing is None else places[np.argsort(self.listing.places[places], kind="stable")]


def _named(file: PagedFile, name: str) -> Tree:
    if not name:
        return file.tree
    node = find(file, file.tree, name.encode())
    if node is None or not isinstance(node.value, Tree):
        raise NoDatabaseError(
            f"it holds no database named {name!r} (--image-field); expected one of those inside the file"
        )
    return node.value


def _strays(file: PagedFile, tree: Tree, pages: list[int]) -> Iterator[Stray]:
    """Of pages that no other page leads to, the nodes whose keys are not in the tree, each key once.

    Keys are compared by 64 bits of a digest: all of a large database may be strays, and are not held.
    """
    digests = [_digests(file, tree, page) for page in pages]
    if not digests:
        return
    every = np.concatenate(digests)
    _, first = np.unique(every, return_index=True)
    chosen = np.zeros(len(every), bool)
    chosen[first] = True
    chosen &= every != _NONE
    begin = 0
    for page, some in zip(pages, digests, strict=True):
        wanted = np.flatnonzero(chosen[begin : begin + len(some)])
        begin += len(some)
        if len(wanted):
            yield Stray(page, wanted)


_NONE = np.uint64(0)  # of a key that is no record


def _digests(file: PagedFile, tree: Tree, page: int) -> np.ndarray:
    try:
        there = keys(file.page(page, LEAF))
    except PageError:
        return np.empty(0, np.uint64)
    known = (0 if key in BOOKKEEPING or find(file, tree, key) else _digest(key) for key in there)
    return np.fromiter(known, np.uint64, len(there))


def _digest(key: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "little") or 1
