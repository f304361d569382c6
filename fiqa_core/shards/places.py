"""Where the records of a shard without an index of its own lie: found by one pass, then remembered on this machine.

A tar or TFRecord file does not say where its records begin. The first time that single records of one are wanted, a
pass over it finds all places. They are kept in a cache folder of the user, under a digest of the shard's address, size
and version, so that later only the wanted bytes are read. The folder may be removed at any time.
"""

import hashlib
import os
import re
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from fiqa_core.storage import MissingError, StoredFile, open_read, stat

# index, begin, end: int64 of equal length, of consecutive records.
Block = tuple[np.ndarray, np.ndarray, np.ndarray]
Find = Callable[[IO[bytes]], Iterable[Block] | None]

CACHE_VARIABLE = "FIQA_CACHE"
_LAYOUT = "1"  # changes when the content of the cache files does
_REMEMBERED = 32  # shards whose places stay in memory
_MOST_FILES = 4096
_OUR_NAME = re.compile(r"[0-9a-f]{32}\.npy")
_BLOCK_BYTES = 64 << 10  # a request, on a store: images are small and lie here and there


@dataclass(frozen=True)
class Places:
    """Where records of a shard lie.

    Attributes:
        index: int64, ascending, `Record.index` of each. begin, end: int64, bytes of the shard.
    """

    index: np.ndarray
    begin: np.ndarray
    end: np.ndarray

    def read(self, url: str, wanted: Sequence[int], most: int) -> Iterator[tuple[int, bytes | None]]:
        """`index` and bytes of the wanted records that have a place; None in place of more than `most` bytes."""
        with open_read(url, block_bytes=_BLOCK_BYTES) as stream:
            for index in wanted:
                at = int(np.searchsorted(self.index, index))
                if at == len(self.index) or self.index[at] != index:
                    continue
                begin, end = int(self.begin[at]), int(self.end[at])
                if end - begin > most:
                    yield index, None
                    continue
                stream.seek(begin)
                yield index, stream.read(end - begin)


def places_of(url: str, kind: str, find: Find) -> Places | None:
    """The places of a shard's records, from memory, the cache folder, or a pass over the shard.

    Args:
        kind: of the places, for one shard may have several. find: yields them from the open shard, or gives None if it
            has no places (it is compressed).

    Raises:
        OSError: the shard cannot be read.
    """
    file = stat(url)
    if file is None:
        raise MissingError(f"{url}: no such file. If the dataset was moved, say where it lies now.")
    name = hashlib.sha256("\0".join((_LAYOUT, kind, file.url, str(file.size), file.version)).encode()).hexdigest()[:32]
    with _memory.lock_of(name):
        if name in _memory:
            return _memory[name]
        places = _load(name, file)
        if places is None:
            places = _found(file, find)
            if places is not None:
                _save(name, places)
        _memory[name] = places
        return places


def _found(file: StoredFile, find: Find) -> Places | None:
    with open_read(file.url) as stream:
        blocks = find(stream)
        if blocks is None:
            return None
        columns = list(zip(*blocks, strict=True)) or [(np.zeros(0, np.int64),)] * 3
        return Places(*(np.concatenate(column).astype(np.int64) for column in columns))


class _Memory:
    """The places of the shards that were asked for last, and a lock for each, so that one thread looks for them."""

    def __init__(self) -> None:
        self._places: OrderedDict[str, Places | None] = OrderedDict()
        self._locks: dict[str, threading.Lock] = {}
        self._own = threading.Lock()

    def lock_of(self, name: str) -> threading.Lock:
        with self._own:
            return self._locks.setdefault(name, threading.Lock())

    def __contains__(self, name: str) -> bool:
        return name in self._places

    def __getitem__(self, name: str) -> Places | None:
        with self._own:
            self._places.move_to_end(name)
            return self._places[name]

    def __setitem__(self, name: str, places: Places | None) -> None:
        with self._own:
            self._places[name] = places
            while len(self._places) > _REMEMBERED:
                self._locks.pop(self._places.popitem(last=False)[0], None)

    def clear(self) -> None:
        with self._own:
            self._places.clear()


_memory = _Memory()


def forget_places() -> None:
    """Drop what is remembered in memory (not the cache folder)."""
    _memory.clear()


def cache_folder() -> Path:
    """`$FIQA_CACHE`, else `fiqa` in `$XDG_CACHE_HOME` or `~/.cache`; the places lie in `places` below it."""
    named = os.environ.get(CACHE_VARIABLE)
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "fiqa"


def _load(name: str, file: StoredFile) -> Places | None:
    """Places of an earlier process; None if there are none, or the file is damaged."""
    try:
        found = np.load(cache_folder() / "places" / f"{name}.npy", allow_pickle=False)
    except (OSError, ValueError, EOFError, RuntimeError):
        return None
    if found.dtype != np.int64 or found.ndim != 2 or len(found) != 3:
        return None
    index, begin, end = found
    fits = (np.diff(index) > 0).all() and (begin >= 0).all() and (begin <= end).all() and (end <= file.size).all()
    return Places(index, begin, end) if fits else None


def _save(name: str, places: Places) -> None:
    """Keep places for later processes; a home that cannot be written to costs only the next pass."""
    with suppress(OSError, RuntimeError):
        folder = cache_folder() / "places"
        folder.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(".tmp", "fiqa-", folder)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                np.save(stream, np.stack([places.index, places.begin, places.end]), allow_pickle=False)
            Path(temporary).replace(folder / f"{name}.npy")
        finally:
            Path(temporary).unlink(missing_ok=True)
        _make_room(folder)


def _make_room(folder: Path) -> None:
    """Remove the oldest files where there are too many; only files that are called like ours."""
    ours = [entry for entry in os.scandir(folder) if _OUR_NAME.fullmatch(entry.name)]
    if len(ours) > _MOST_FILES:
        ours.sort(key=lambda entry: entry.stat().st_mtime)
        for entry in ours[: len(ours) // 4]:
            Path(entry.path).unlink(missing_ok=True)
