"""ViT-FIQA's layout: `__keys__` and `__labels__` hold pickles, a list of the images' keys and one of their labels."""

import io
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fiqa_core.shards.label_text import value_text
from fiqa_core.shards.lmdb.layout import Big, Node, PageError
from fiqa_core.shards.lmdb.pages import PagedFile
from fiqa_core.shards.names import MAX_LABEL_CHARACTERS, printable, shortened
from fiqa_core.shards.plain_pickle import Array, PickleError, PlainPickle, numbers

KEYS, LABELS, LENGTH = b"__keys__", b"__labels__", b"__len__"
BOOKKEEPING = frozenset((KEYS, LABELS, LENGTH))
LABEL_FROM = "__labels__"
Find = Callable[[bytes], Node | None]
_MOST_BYTES = 2 << 30
_MOST_KEY = 511  # LMDB's own limit
_END = b"\x01"  # behind each key, as numpy drops zeros at the end of bytes


class Listing(NamedTuple):
    """Keys and labels, in memory some 30 bytes an image (and as many while they are read).

    Attributes:
        keys: bytes (n), sorted, each with a byte behind it. places: int64 (n), which place of the list each has.
        labels: int64 or objects (n), in the order of the list; None where they cannot be read.
        problem: what is wrong, for people; "" if nothing is.
    """

    keys: np.ndarray
    places: np.ndarray
    labels: np.ndarray | None
    problem: str

    def of(self, keys: list[bytes]) -> np.ndarray:
        """For each key its place in `self.keys`, -1 where it is not listed (int64)."""
        if not len(self.keys) or not keys:
            return np.full(len(keys), -1)
        wanted = np.array([key + _END for key in keys])
        at = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        return np.where(self.keys[at] == wanted, at, -1)

    def labels_at(self, places: np.ndarray) -> list[str | None]:
        """The labels of the keys at places of `self.keys`, as text; None at -1."""
        if self.labels is None:
            return [None] * len(places)
        values = self.labels[self.places[places]].tolist()
        if self.labels.dtype == np.int64:
            return [str(value) if place >= 0 else None for value, place in zip(values, places.tolist(), strict=True)]
        return [_text(value) if place >= 0 else None for value, place in zip(values, places.tolist(), strict=True)]

    def key(self, place: int) -> bytes:
        """The key at a place of `self.keys`."""
        return bytes(self.keys[place])[: -len(_END)]


def _text(value: Any) -> str | None:
    text = value_text(value)
    return None if text is None else printable(shortened(text, MAX_LABEL_CHARACTERS))


def read_listing(file: PagedFile, find: Find) -> Listing | None:
    """The listing of a database; None for one that has none.

    `find` gives the node of a key, or None.
    """
    if find(KEYS) is None and find(LABELS) is None:
        return None
    nothing = Listing(np.empty(0, "S1"), np.empty(0, np.int64), None, "")
    try:
        keys = _keys(file, find)
    except (PickleError, PageError) as error:
        return nothing._replace(problem=f"{KEYS.decode()} cannot be read, so no image has a label: {error}")
    order = np.argsort(keys, kind="stable")
    listing = Listing(keys[order], order, None, "")
    try:
        labels = _labels(file, find)
    except (PickleError, PageError) as error:
        return listing._replace(problem=f"{LABELS.decode()} cannot be read, so no image has a label: {error}")
    if labels is None:
        return listing
    if len(labels) != len(keys):
        return listing._replace(
            problem=f"{KEYS.decode()} lists {len(keys)} images and {LABELS.decode()} {len(labels)}, so none has a label"
        )
    return listing._replace(labels=labels)


def _keys(file: PagedFile, find: Find) -> np.ndarray:
    parts: list[np.ndarray] = []

    def add(items: list[Any]) -> None:
        keys = [item.encode() if isinstance(item, str) else item for item in items]
        if any(not isinstance(key, bytes) for key in keys):
            raise PickleError("an item is not bytes, or longer than a key can be", 0)
        parts.append(np.array([key + _END for key in keys]))
        if max(part.itemsize for part in parts) * sum(map(len, parts)) > _MOST_BYTES:
            raise PickleError(f"its keys need more than {_MOST_BYTES} bytes", 0)

    _unpickled(_stored(file, find, KEYS), add)
    return np.concatenate(parts) if parts else np.empty(0, "S1")


def _labels(file: PagedFile, find: Find) -> np.ndarray | None:
    if find(LABELS) is None:
        return None
    parts: list[np.ndarray] = []

    def add(items: list[Any]) -> None:
        if all(type(item) is int and -(1 << 63) <= item < 1 << 63 for item in items):
            parts.append(np.array(items, np.int64))
        elif all(isinstance(item, str | bytes | int | float | None) for item in items):
            part = np.empty(len(items), object)
            part[:] = items
            parts.append(part)
        else:
            raise PickleError("an item is neither a number nor a text", 0)

    _unpickled(_stored(file, find, LABELS), add)
    return np.concatenate(parts) if parts else np.empty(0, np.int64)


def _stored(file: PagedFile, find: Find, name: bytes) -> bytes:
    node = find(name)
    if node is None:
        raise PageError("there is none")
    if isinstance(node.value, Big):
        if node.value.size > _MOST_BYTES:
            raise PageError(f"it has {node.value.size} bytes; the limit is {_MOST_BYTES}")
        return file.value(node.value)
    if not isinstance(node.value, bytes):
        raise PageError(node.fault or "it is a database")
    return node.value


def _unpickled(data: bytes, each: Any) -> None:
    stream = io.BytesIO(data)
    rest = PlainPickle(stream, most=len(data), kept=_MOST_KEY, each=each).load()
    if isinstance(rest, Array):
        rest = numbers(rest, stream)
    if not isinstance(rest, list | tuple):
        raise PickleError(f"it is a pickle of a {type(rest).__name__}, expected a list", 0)
    if rest:
        each(list(rest))
