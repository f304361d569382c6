"""Files on any store through fsspec: locate, list, read, and publish whole or not at all."""

import glob
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

_GLOB_CHARACTERS = "*?["


class StorageError(OSError):
    """A store did not do what was asked; the message names the place and what to do."""


@dataclass(frozen=True)
class StoredFile:
    """One file of a store, as its listing tells it.

    `shown` is its URI in the form the user gave, `url` the absolute one that any worker can open,
    `size` is in bytes (-1: the listing does not say), `version` changes when the content does
    (ETag, checksum or modification time, whichever the store has).
    """

    shown: str
    url: str
    size: int
    version: str


def filesystem(uri: str) -> tuple[Any, str]:
    """The fsspec file system of a URI (or plain local path) and the path inside it."""
    try:
        return fsspec.core.url_to_fs(uri)  # type: ignore[no-any-return]
    except ImportError as error:
        scheme = uri.partition("://")[0]
        raise StorageError(
            f"{uri}: reading {scheme}:// needs a package that is not installed ({error}). "
            f"Install it: pip install 'fiqa-pipelines[{scheme}]' (for s3), or the package named here."
        ) from error
    except ValueError as error:
        raise StorageError(f"{uri}: not a URI this installation can open: {error}") from error


def is_local(uri: str) -> bool:
    """Whether a URI is on this machine's disk."""
    return isinstance(filesystem(uri)[0], LocalFileSystem)


def absolute(uri: str) -> str:
    """The URI in a form that means the same in every process: local paths become absolute paths."""
    fs, path = filesystem(uri)
    return path if isinstance(fs, LocalFileSystem) else str(fs.unstrip_protocol(path))


def join(base: str, *parts: str) -> str:
    """`base/part/part` with single slashes."""
    return "/".join([base.rstrip("/"), *(part.strip("/") for part in parts)])


def has_glob(uri: str) -> bool:
    """Whether a URI is a pattern. A file that really has such a character in its name is not one."""
    if not any(character in uri for character in _GLOB_CHARACTERS):
        return False
    fs, path = filesystem(uri)
    return not fs.exists(path)


def stat(uri: str) -> StoredFile | None:
    """What the store says of one file; None if there is no such file (or it is a folder)."""
    fs, path = filesystem(uri)
    try:
        info = fs.info(path)
    except FileNotFoundError:
        return None
    return _stored_file(uri, absolute(uri), info) if info["type"] == "file" else None


def is_folder(uri: str) -> bool:
    """Whether there is a folder (on an object store: any object under this prefix)."""
    fs, path = filesystem(uri)
    return bool(fs.isdir(path))


def expand_glob(pattern: str) -> list[StoredFile]:
    """Files that a pattern matches, sorted, shown in the form the pattern has (relative stays relative)."""
    if is_local(pattern):
        plain = pattern.removeprefix("file://")
        prefix = pattern[: len(pattern) - len(plain)]
        # glob.glob and not Path.glob: it keeps the form the user gave (relative, with or without ./).
        found = [stat(prefix + name) for name in sorted(glob.glob(plain, recursive=True))]  # noqa: PTH207
        return [file for file in found if file is not None]
    fs, path = filesystem(pattern)
    details = fs.glob(path, detail=True)
    return [
        _stored_file(fs.unstrip_protocol(name), fs.unstrip_protocol(name), info)
        for name, info in sorted(details.items())
        if info["type"] == "file"
    ]


def walk(folder: str) -> Iterator[tuple[bytes, int]]:
    """Every file under a folder as (relative path, size or -1), one folder at a time, in a fixed order.

    Paths are bytes because names on a local disk need not be text. Hidden files and folders (a leading
    dot) are passed over. On a local disk nothing is stat'ed: a folder of millions of images lists fast.
    """
    fs, root = filesystem(folder)
    if isinstance(fs, LocalFileSystem):
        yield from _walk_local(os.fsencode(root), b"")
        return
    for place, _, files in fs.walk(root, detail=True):
        relative = place[len(root.rstrip("/")) :].strip("/")
        for name in sorted(files):
            if not name.startswith("."):
                yield f"{relative}/{name}".lstrip("/").encode(), int(files[name].get("size") or -1)


def _walk_local(folder: bytes, relative: bytes) -> Iterator[tuple[bytes, int]]:
    with os.scandir(folder) as entries:
        present = sorted((entry for entry in entries if not entry.name.startswith(b".")), key=_by_name)
    for entry in present:
        path = relative + entry.name
        if entry.is_dir(follow_symlinks=False):
            yield from _walk_local(entry.path, path + b"/")
        else:
            yield path, -1


def _by_name(entry: "os.DirEntry[bytes]") -> bytes:
    return entry.name


def open_read(url: str) -> IO[bytes]:
    """Open a file for streaming; remote files are fetched in blocks, never whole."""
    fs, path = filesystem(url)
    if isinstance(fs, LocalFileSystem):
        return Path(path).open("rb", buffering=1 << 18)
    return fs.open(path, "rb")  # type: ignore[no-any-return]


def read_bytes(url: str) -> bytes:
    """The whole of one (small) file."""
    with open_read(url) as stream:
        return stream.read()


def exists(url: str) -> bool:
    """Whether a file or folder is there."""
    fs, path = filesystem(url)
    return bool(fs.exists(path))


def list_names(folder: str) -> list[str]:
    """Names of what a folder holds, sorted; empty if there is no such folder."""
    fs, path = filesystem(folder)
    fs.invalidate_cache()
    try:
        found = fs.ls(path, detail=False)
    except FileNotFoundError:
        return []
    except NotADirectoryError as error:
        raise StorageError(f"{folder}: expected a folder, found a file. Name a folder.") from error
    return sorted(str(name).rstrip("/").rpartition("/")[2] for name in found)


def remove(url: str) -> None:
    """Remove a file or a whole folder; nothing happens if it is not there."""
    fs, path = filesystem(url)
    if fs.exists(path):
        fs.rm(path, recursive=True)


def make_folder(url: str) -> None:
    """Make a folder where the store has folders."""
    fs, path = filesystem(url)
    fs.makedirs(path, exist_ok=True)


@contextmanager
def temporary_for(output: str) -> Iterator[Path]:
    """A local path to write a file at, before `publish`; it is gone afterwards, whatever happens.

    For an output on the local disk it lies in `<output>/_tmp`, so that publishing is a rename and never a
    copy across file systems; what a killed process leaves there is swept by the next run (`sweep`).
    """
    folder = Path(filesystem(output)[1]) / "_tmp" if is_local(output) else Path(tempfile.gettempdir())
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"fiqa-{uuid.uuid4().hex}"
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def sweep(output: str) -> int:
    """Remove temporaries that killed processes left under an output; the number removed."""
    if not is_local(output):
        return 0
    folder = Path(filesystem(output)[1]) / "_tmp"
    left = list(folder.glob("*")) if folder.is_dir() else []
    shutil.rmtree(folder, ignore_errors=True)
    return len(left)


def publish(path: Path, url: str) -> None:
    """Put a finished local file in its final place: readers see the whole file or none.

    Local disk: flushed to the disk, then renamed. Object stores: one whole-object upload (an exception
    inside `with fs.open(url, "wb")` would *commit* what was written so far, so that form is never used).
    """
    fs, target = filesystem(url)
    if isinstance(fs, LocalFileSystem):
        with path.open("rb") as written:
            os.fsync(written.fileno())
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)
    else:
        fs.put_file(str(path), target)


def publish_bytes(data: bytes, output: str, url: str) -> None:
    """Write a small file under an output in one step: readers see the whole of it or none."""
    with temporary_for(output) as path:
        path.write_bytes(data)
        publish(path, url)


def _stored_file(shown: str, url: str, info: dict[str, Any]) -> StoredFile:
    version = next((str(info[key]) for key in ("ETag", "etag", "md5Hash", "mtime") if info.get(key)), "")
    return StoredFile(shown, url, int(info.get("size") or 0), version)
