"""What is there: single files, globs and whole folders, without a question per file."""

import glob
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from fsspec.utils import glob_translate

from fiqa_core.storage.errors import StorageError, explained
from fiqa_core.storage.places import absolute, filesystem, is_local, store_of, uri_in

_MAGIC = re.compile(r"[*?[]")
_HIDDEN = re.compile(r"(^|/)\.")


@dataclass(frozen=True)
class StoredFile:
    """One file of a store, as its listing tells it.

    `shown` is its URI in the form the user gave, `url` the absolute one that any worker can open,
    `size` is in bytes (-1: the listing does not say), `version` changes when the content does
    (generation, ETag or modification time, whichever the store has).
    """

    shown: str
    url: str
    size: int
    version: str


class Listed(NamedTuple):
    """A file below a folder: its path there, size in bytes and version (-1 and "" where the listing has none)."""

    path: bytes
    size: int
    version: str


def has_glob(uri: str) -> bool:
    """Whether a URI is a pattern. A file that really has such a character in its name is not one."""
    return _MAGIC.search(uri) is not None and not exists(uri)


def stat(uri: str) -> StoredFile | None:
    """What the store says of one file; None if there is no such file (or it is a folder)."""
    if is_local(uri):
        path = filesystem(uri)[1]
        found = Path(path)
        if not found.is_file():
            return None
        details = found.stat()
        return StoredFile(uri, path, details.st_size, str(details.st_mtime))
    store, path = store_of(uri)
    with explained(uri):
        entry = store.head(path)
    return None if entry is None else StoredFile(uri, absolute(uri), entry.size, entry.version)


def is_folder(uri: str) -> bool:
    """Whether there is a folder (on an object store: any object under this prefix)."""
    if is_local(uri):
        return Path(filesystem(uri)[1]).is_dir()
    store, path = store_of(uri)
    with explained(uri):
        return any(True for _ in islice(store.entries(path.rstrip("/") + "/", deep=True, first=True), 1))


def exists(url: str) -> bool:
    """Whether a file or folder is there."""
    return stat(url) is not None or is_folder(url)


def expand_glob(pattern: str) -> list[StoredFile]:
    """Files that a pattern matches, sorted, shown in the form the pattern has (relative stays relative)."""
    if is_local(pattern):
        plain = pattern.removeprefix("file://")
        prefix = pattern[: len(pattern) - len(plain)]
        # glob.glob and not Path.glob: it keeps the form the user gave (relative, with or without ./).
        found = [stat(prefix + name) for name in sorted(glob.glob(plain, recursive=True))]  # noqa: PTH207
        return [file for file in found if file is not None]
    store, path = store_of(pattern)
    literal = path[: _first_magic(path)]
    # One level is listed where the pattern has its first special character in its last part.
    deep = "/" in path[len(literal) :] or "**" in path
    matches = re.compile(glob_translate(path)).match
    with explained(pattern):
        entries = [entry for entry in store.entries(literal, deep) if matches(entry.path)]
    uris = [(uri_in(pattern, entry.path), entry) for entry in sorted(entries) if not entry.path.endswith("/")]
    return [StoredFile(uri, uri, entry.size, entry.version) for uri, entry in uris]


def walk(folder: str) -> Iterator[Listed]:
    """Every file under a folder, ordered by its path below it; a page of the listing at a time is held.

    Paths are bytes because names on a local disk need not be text. Hidden files and folders (a leading
    dot) are passed over. On a local disk nothing is stat'ed (size -1, no version): a folder of millions of
    images lists fast. On an object store the listing brings size and version with it.
    """
    if is_local(folder):
        for path in _walk_local(os.fsencode(filesystem(folder)[1]), b""):
            yield Listed(path, -1, "")
        return
    store, path_in_store = store_of(folder)
    prefix = path_in_store.rstrip("/") + "/"
    entries = store.entries(prefix, deep=True)
    while True:
        with explained(folder):
            entry = next(entries, None)
        if entry is None:
            return
        relative = entry.path[len(prefix) :]
        if relative and not relative.endswith("/") and not _HIDDEN.search(relative):
            yield Listed(relative.encode(), entry.size, entry.version)


def list_names(folder: str) -> list[str]:
    """Names of what a folder holds, sorted; empty if there is no such folder.

    Raises:
        MissingError: the bucket does not exist. StorageError: it is a file.
    """
    if is_local(folder):
        place = Path(filesystem(folder)[1])
        if place.is_file():
            raise StorageError(f"{folder}: expected a folder, found a file. Name a folder.")
        return sorted(os.listdir(place)) if place.is_dir() else []  # noqa: PTH208
    store, path = store_of(folder)
    prefix = path.rstrip("/") + "/"
    with explained(folder):
        names = [entry.path[len(prefix) :].rstrip("/") for entry in store.entries(prefix, deep=False)]
        if not names and store.head(path.rstrip("/")) is not None:
            raise StorageError(f"{folder}: expected a folder, found a file. Name a folder.")
    return sorted(name for name in names if name)


def _walk_local(folder: bytes, relative: bytes) -> Iterator[bytes]:
    with os.scandir(folder) as entries:
        present = sorted(_sortable(entry) for entry in entries if not entry.name.startswith(b"."))
    for name, is_dir in present:
        if is_dir:
            yield from _walk_local(folder + b"/" + name[:-1], relative + name)
        else:
            yield relative + name


def _sortable(entry: "os.DirEntry[bytes]") -> tuple[bytes, bool]:
    # With the slash, folders sort as their files' whole paths do: the order of every object store.
    is_dir = entry.is_dir(follow_symlinks=False)
    return (entry.name + b"/" if is_dir else entry.name), is_dir


def _first_magic(path: str) -> int:
    found = _MAGIC.search(path)
    return found.start() if found else len(path)
