"""Which files lie below a folder, and which of them are among the paths that a run wrote there."""

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from fiqa_core.storage import filesystem, is_local
from fiqa_core.storage.places import store_of


def files_below(folder: str) -> Iterator[tuple[str, bool]]:
    """Every file below a folder, hidden ones too, and whether it is a link (to a folder, too: none is followed).
    Nothing if the folder is not there."""
    if not is_local(folder):
        store, path = store_of(folder)
        prefix = path.rstrip("/") + "/"
        paths = (listed.path for listed in store.entries(prefix, deep=True))
        yield from ((path[len(prefix) :], False) for path in paths if not path.endswith("/"))
        return
    root = Path(filesystem(folder)[1])
    waiting = [root] if os.path.lexists(root) else []  # a file in its place is refused by scandir
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(Path(entry.path))
                else:
                    yield os.path.relpath(entry.path, root), entry.is_symlink()


class PathSet:
    """A set of paths by their hashes: 8 bytes a path, since a dataset may have many million images."""

    def __init__(self, paths: Iterable[str]) -> None:
        """Read all paths once; none is kept."""
        self._hashes = np.fromiter(map(_hash, paths), np.uint64)
        self._hashes.sort()

    def __contains__(self, path: str) -> bool:
        wanted = np.uint64(_hash(path))
        at = int(np.searchsorted(self._hashes, wanted))
        return bool(at < len(self._hashes) and self._hashes[at] == wanted)


def _hash(path: str) -> int:
    return int.from_bytes(hashlib.blake2b(path.encode("utf-8", "surrogateescape"), digest_size=8).digest(), "big")
