"""Find files: single ones, globs and whole folders, without a request for each file."""

import errno
import glob
import logging
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import Literal, NamedTuple

from fsspec.utils import glob_translate

from fiqa_core.storage.errors import StorageError, explained
from fiqa_core.storage.places import absolute, filesystem, is_local, join, store_of, uri_in
from fiqa_core.storage.store import Entry

_log = logging.getLogger(__name__)
_MAGIC = re.compile(r"[*?[]")
_ESCAPED = re.compile(r"\[[*?[]\]")
_HIDDEN = re.compile(r"(^|/)\.")


@dataclass(frozen=True)
class StoredFile:
    """One file of a store, from its listing.

    `shown` is its URI in the form the user gave, `url` the absolute one that any worker can open, `size` is in bytes
    (-1: not in the listing), `version` changes when the content does (generation, ETag or modification time, whichever
    the store has). `kind` differs from `file` only for matches of a pattern: a folder, or a name without a readable
    file behind it (a broken link, a pipe).
    """

    shown: str
    url: str
    size: int
    version: str
    kind: Literal["file", "folder", "broken"] = "file"


class Listed(NamedTuple):
    """A file below a folder: its path there, size in bytes and version (-1 and "" if it cannot be looked at)."""

    path: bytes
    size: int
    version: str


def has_glob(uri: str) -> bool:
    """Whether a URI is a pattern; a name with such characters that exists is not a pattern."""
    return _MAGIC.search(uri) is not None and not exists(uri)


def has_magic(pattern: str) -> bool:
    """Whether a text has a character that is special in patterns; nothing is looked up."""
    return _MAGIC.search(pattern) is not None


def special_file(uri: str) -> StorageError:
    """The error for anything but a file or folder: reading it may wait for ever, or never end."""
    return StorageError(f"{uri}: a device, pipe or socket; expected a regular file. Save its content as a file.")


def stat(uri: str) -> StoredFile | None:
    """One file with size and version; None if there is no such file (or it is a folder).

    Raises:
        StorageError: it is a device, pipe or socket; or the store failed.
    """
    if is_local(uri):
        path = filesystem(uri)[1]
        try:
            details = os.stat(path)  # noqa: PTH116
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENAMETOOLONG):
                return None
            raise
        except ValueError:  # a zero byte in the name
            return None
        if S_ISDIR(details.st_mode):
            return None
        if not S_ISREG(details.st_mode):
            raise special_file(uri)
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


def glob_base(pattern: str) -> str:
    """The folder that contains all matches of a pattern, written as in the pattern; "." for the current folder."""
    parts = _literal_folders(pattern).split("/")
    special = (place for place, part in enumerate(parts) if _MAGIC.search(_ESCAPED.sub("", part)))
    count = next(special, len(parts) - 1)
    base = "/".join(pattern.split("/")[:count])
    return base or ("/" if count else ".")


def expand_glob(pattern: str) -> list[StoredFile]:
    """What a pattern matches, sorted, written as in the pattern (relative stays relative).

    Files, folders, and names without a file behind them (`StoredFile.kind`). If a folder in the pattern exists with
    such characters in its name, they are taken literally. If a pattern ends in `**` or `**/*`, folders are left out,
    since every file below them matches itself.
    """
    literal = _literal_folders(pattern)
    every_file = literal.endswith(("/**", "**/*")) or literal == "**"
    found = _expand_local(literal) if is_local(pattern) else _expand_stored(pattern, literal)
    return [file for file in found if not (every_file and file.kind == "folder")]


def _expand_local(pattern: str) -> Iterator[StoredFile]:
    plain = pattern.removeprefix("file://").removeprefix("local://")
    prefix = pattern[: len(pattern) - len(plain)]
    folders: dict[str, str] = {}
    # glob.glob and not Path.glob: it keeps the user's spelling (relative, with or without ./).
    for name in sorted(glob.glob(os.path.expanduser(plain), recursive=True)):  # noqa: PTH111, PTH207
        folder, _, last = name.rpartition("/")
        if folder not in folders:
            folders[folder] = absolute(folder or ("/" if name.startswith("/") else "."))
        # One system call a file, and each folder's place computed once: a pattern may match a million files.
        url = join(folders[folder], last) if last not in ("", ".", "..") else absolute(name)
        kind, size, version = _look_at(url)
        yield StoredFile(prefix + name, url, size, version, kind)


def _look_at(path: str) -> tuple[Literal["file", "folder", "broken"], int, str]:
    try:
        details = os.stat(path)  # noqa: PTH116
    except OSError:
        return "broken", -1, ""
    if S_ISDIR(details.st_mode):
        return "folder", -1, ""
    return ("file", details.st_size, str(details.st_mtime)) if S_ISREG(details.st_mode) else ("broken", -1, "")


def _expand_stored(uri: str, pattern: str) -> Iterator[StoredFile]:
    store, path = store_of(pattern)
    literal = path[: _first_magic(path)]
    # Only one level is listed if the first special character is in the pattern's last part.
    deep = "/" in path[len(literal) :] or "**" in path
    matches = re.compile(glob_translate(path)).match
    with explained(uri):
        entries = _with_folders(store.entries(literal, deep), literal)
        found = sorted(entry for entry in entries if matches(entry.path.rstrip("/")))
    for entry in found:
        place = uri_in(uri, entry.path.rstrip("/"))
        kind: Literal["file", "folder"] = "folder" if entry.path.endswith("/") else "file"
        yield StoredFile(place, place, entry.size, entry.version, kind)


def _with_folders(entries: Iterable[Entry], literal: str) -> Iterator[Entry]:
    """A listing together with the folders of its files, each once."""
    seen: set[str] = set()
    for entry in entries:
        folder = entry.path if entry.path.endswith("/") else entry.path.rpartition("/")[0] + "/"
        while len(folder) > len(literal) and folder not in seen:
            seen.add(folder)
            yield Entry(folder, -1, "")
            folder = folder[:-1].rpartition("/")[0] + "/"
        if not entry.path.endswith("/"):
            yield entry


def _literal_folders(pattern: str) -> str:
    """The pattern, with special characters escaped in folders that exist with such names."""
    parts = pattern.split("/")
    escaped = list(parts)
    for place, part in enumerate(parts[:-1]):
        if _MAGIC.search(part):
            if part in ("*", "**") or not is_folder("/".join(parts[: place + 1])):
                break
            escaped[place] = _MAGIC.sub(r"[\g<0>]", part)
    return "/".join(escaped)


def walk(folder: str) -> Iterator[Listed]:
    """Every file under a folder, ordered by its path below it; only a page of the listing is held at a time.

    Paths are bytes because names on a local disk need not be text. Hidden files and folders (a leading dot) are
    skipped. The listing of an object store includes size and version; on a local disk every file is stat'ed for them
    (about 10 s a million files), so that a changed image is noticed. Links to folders are followed, unless they lead
    back to a folder that contains them (this is logged).
    """
    if is_local(folder):
        yield from _walk_local(os.fsencode(filesystem(folder)[1]))
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
    """Names of a folder's files and folders, sorted; empty if there is no such folder.

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


def _walk_local(root: bytes) -> Iterator[Listed]:
    # An own stack instead of recursion: a tree may be deeper than Python's recursion limit.
    stack = [iter([b""])]
    while stack:
        name = next(stack[-1], None)
        if name is None:
            stack.pop()
        elif name == b"" or name.endswith(b"/"):
            stack.append(_present(root, name))
        else:
            yield _stat_listed(root, name)


def _present(root: bytes, relative: bytes) -> Iterator[bytes]:
    """The content of one folder as sorted paths below the root; folders end with a slash."""
    folder = root.rstrip(b"/") + b"/" + relative
    try:
        with os.scandir(folder) as entries:
            # With the slash, folders sort like the whole paths of their files: the order of object stores.
            names = [e.name + b"/" if _is_folder_to_enter(e) else e.name for e in entries if e.name[:1] != b"."]
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            name = os.fsdecode(folder)
            raise StorageError(f"{name[:80]}...{name[-40:]}: nested too deeply for this system to open it") from error
        raise
    return iter([relative + name for name in sorted(names)])


def _is_folder_to_enter(entry: "os.DirEntry[bytes]") -> bool:
    try:
        if not entry.is_symlink() or not entry.is_dir():
            return entry.is_dir(follow_symlinks=False)
        target, above = entry.stat(), entry.path
    except OSError:
        return False  # a circular link: listed as a file that cannot be read
    while above != b"/":
        above = above.rstrip(b"/").rpartition(b"/")[0] or b"/"
        if os.path.samestat(target, os.stat(above)):  # noqa: PTH116
            _log.warning(
                "%s: a link back to %s, not followed",
                *(name.decode("utf-8", "backslashreplace") for name in (entry.path, above)),
            )
            return False
    return True


def _stat_listed(root: bytes, relative: bytes) -> Listed:
    try:
        details = os.stat(root.rstrip(b"/") + b"/" + relative)  # noqa: PTH116
    except OSError:
        return Listed(relative, -1, "")
    return Listed(relative, details.st_size, str(details.st_mtime))


def _first_magic(path: str) -> int:
    found = _MAGIC.search(path)
    return found.start() if found else len(path)
