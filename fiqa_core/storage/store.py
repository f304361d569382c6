"""The interface of a store that is not a local disk, and its implementation for any other fsspec file system."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from fsspec.implementations.memory import MemoryFileSystem

from fiqa_core.storage.errors import StorageError

# What file systems call that which changes with a file's content.
_VERSION_KEYS = ("ETag", "etag", "blob_id", "xet_hash", "mtime", "created", "Last-Modified", "sha")


class Entry(NamedTuple):
    """A file of a listing. A folder's `path` ends with a slash; `size` is in bytes, -1 if not known."""

    path: str
    size: int
    version: str


class Store(Protocol):
    """Whole objects by path (`bucket/key`). There is no cache, and each request is retried."""

    def head(self, path: str) -> Entry | None:
        """One file, None if there is none (or it is a folder)."""

    def entries(self, prefix: str, deep: bool, first: bool = False) -> Iterator[Entry]:
        """Files whose path begins with `prefix`, in order of their names. `deep`: from all folders below, else the
        files and folders of one level. `first`: only the first is needed."""

    def read(self, path: str, start: int, end: int, version: str) -> bytes:
        """Bytes start to end (exclusive) of this version of a file ("" = any)."""

    def put(self, local: Path, path: str) -> None:
        """Upload a file; readers see the whole file or none."""

    def delete(self, paths: list[str]) -> None:
        """Remove files; one that is already gone is not an error."""

    def sweep(self, prefix: str) -> int:
        """Remove what interrupted uploads left under `prefix`; returns their number."""


class PlainStore:
    """Any other fsspec file system, for reading; memory:// also for writing."""

    def __init__(self, fs: Any) -> None:
        self._fs = fs

    def head(self, path: str) -> Entry | None:
        """One file, None if there is none."""
        try:
            info = self._fs.info(path)
        except FileNotFoundError:
            return None
        return plain_entry(info) if info["type"] == "file" else None

    def entries(self, prefix: str, deep: bool, first: bool = False) -> Iterator[Entry]:  # noqa: ARG002
        """Files whose path begins with `prefix`; the folder before its last slash is listed."""
        folder = prefix.rpartition("/")[0]
        try:
            found = self._fs.find(folder, detail=True).values() if deep else self._fs.ls(folder, detail=True)
        except (FileNotFoundError, NotADirectoryError):
            return
        listed = (
            Entry(f"{info['name'].rstrip('/')}/", -1, "") if info["type"] == "directory" else plain_entry(info)
            for info in found
            # For a path that is itself a file, fsspec's `find` returns an entry without name and type.
            if "type" in info and "name" in info
        )
        yield from sorted(entry for entry in listed if entry.path.startswith(prefix) and entry.path != prefix)

    def read(self, path: str, start: int, end: int, version: str) -> bytes:  # noqa: ARG002
        """Bytes start to end (exclusive)."""
        data: bytes = self._fs.cat_file(path, start=start, end=end)
        return data

    def put(self, local: Path, path: str) -> None:
        """Store a file whole."""
        if not isinstance(self._fs, MemoryFileSystem):
            name = self._fs.protocol if isinstance(self._fs.protocol, str) else self._fs.protocol[0]
            raise StorageError(
                f"{name}://{path}: this store can be read, but not written to: it may show half-written files to "
                "readers. Write to a local folder, gs:// or s3://."
            )
        self._fs.pipe_file(path, local.read_bytes())

    def delete(self, paths: list[str]) -> None:
        """Remove files; one that is already gone is not an error."""
        for path in paths:
            if self._fs.exists(path):
                self._fs.rm_file(path)

    def sweep(self, prefix: str) -> int:  # noqa: ARG002
        """Nothing to do: nothing is left behind."""
        return 0


def plain_entry(info: dict[str, Any]) -> Entry:
    """The entry for what fsspec knows of a file."""
    version = next((str(info[key]) for key in _VERSION_KEYS if info.get(key)), "")
    size = info.get("size")
    return Entry(info["name"], -1 if size is None else int(size), version)
