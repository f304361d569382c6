"""Read from any store: in ranges whose length is checked, a few at once, never a whole shard in memory."""

import errno
import io
import logging
import os
from stat import S_ISDIR, S_ISREG
from typing import IO

from fsspec.spec import AbstractBufferedFile

from fiqa_core.in_flight import in_flight
from fiqa_core.storage.errors import ChangedError, MissingError, ShortReadError, StorageError, explained
from fiqa_core.storage.listing import StoredFile, special_file, stat
from fiqa_core.storage.places import filesystem, is_local, store_of
from fiqa_core.storage.retry import retrying_here
from fiqa_core.storage.store import Entry, Store

# At most `_BLOCKS` blocks of an open file are held, and one more that is fetched ahead. Four, so that the columns of a
# Parquet row group, which are read in turn, do not displace each other.
BLOCK_BYTES = 4 << 20
_BLOCKS = 4
_WHOLE_WORKERS = 4
# Far more than any network, settings file or list that is read whole.
MOST_BYTES = 8 << 30

# It logs every block that it fetches.
logging.getLogger("fsspec").setLevel(logging.WARNING)


class RangedFile(AbstractBufferedFile):  # type: ignore[misc]
    """A remote file as a seekable stream, read in blocks; the next block is fetched while this one is read.

    Reads return fewer bytes than requested only at the end of the file, as stated by the store.
    """

    def __init__(self, store: Store, entry: Entry, uri: str, block_bytes: int) -> None:
        self._store, self._entry, self._uri = store, entry, uri
        options = {"maxblocks": _BLOCKS}
        super().__init__(
            None, entry.path, "rb", block_bytes, cache_type="background", cache_options=options, size=entry.size
        )

    def _fetch_range(self, start: int, end: int) -> bytes:
        return fetch(self._store, self._entry, self._uri, start, min(end, self._entry.size))


def open_read(url: str, version: str = "", block_bytes: int = BLOCK_BYTES) -> IO[bytes]:
    """Open a file for streaming; remote files are fetched in blocks of `block_bytes`, never whole.

    Raises:
        MissingError: there is no such file (FileNotFoundError on a local disk).
        ChangedError: it does not have this version ("" = any).
        StorageError: the store failed for good; every read may raise it too.
    """
    if is_local(url):
        if version:
            _refuse_change(stat(url), version)
        return _open_local(url)
    return io.BufferedReader(RangedFile(*entry_of(url, version), url, block_bytes), 1 << 16)


def entry_of(url: str, version: str) -> tuple[Store, Entry]:
    """A remote file's store, and what the store says of it.

    Raises:
        MissingError: there is no such file. ChangedError: it does not have this version ("" = any).
    """
    store, path = store_of(url)
    with explained(url):
        entry = store.head(path)
    if entry is None:
        raise MissingError(f"{url}: no such file. Check the name.")
    _refuse_change(StoredFile(url, url, entry.size, entry.version), version)
    return store, entry


def _open_local(url: str) -> IO[bytes]:
    # Without O_NONBLOCK, opening a pipe waits until somebody writes to it. For files it changes nothing.
    descriptor = os.open(filesystem(url)[1], os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    mode = os.fstat(descriptor).st_mode
    if S_ISREG(mode):
        return os.fdopen(descriptor, "rb", buffering=1 << 18)
    os.close(descriptor)
    if S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), url)
    raise special_file(url)


def read_bytes(url: str, most: int = MOST_BYTES) -> bytes:
    """One file as a whole (checkpoints, settings), fetched a few blocks at once.

    Raises:
        StorageError: it is larger than `most` bytes.
    """
    if is_local(url):
        with open_read(url) as stream:
            return _read_local(url, stream, most)
    store, path = store_of(url)
    with explained(url):
        entry = store.head(path)
    if entry is None:
        raise MissingError(f"{url}: no such file. Check the name.")
    if entry.size > most:
        raise _too_large(url, most)
    starts = range(0, entry.size, BLOCK_BYTES)
    blocks = in_flight(
        starts,
        lambda start: fetch(store, entry, url, start, min(start + BLOCK_BYTES, entry.size)),
        workers=_WHOLE_WORKERS,
    )
    return b"".join(blocks)


def read_small(url: str, size: int) -> bytes:
    """A listed remote file of `size` bytes (-1: not known) in one request.

    Raises:
        MissingError: it is gone. ChangedError: its size has changed. StorageError: the store failed.
    """
    store, path = store_of(url)
    if size <= 0:
        with explained(url):
            entry = store.head(path)
        if entry is None:
            raise MissingError(f"{url}: gone since it was listed")
        if entry.size <= 0 or size == 0:
            if entry.size:
                raise ChangedError(_changed(url, f"{entry.size} bytes, listed with {size}"))
            return b""
        size = entry.size

    def once() -> bytes:
        # One byte more than expected shows that a file has grown, without another request.
        data = store.read(path, 0, size + 1, "")
        if len(data) != size:
            now = store.head(path)
            if now is None or now.size != size:
                raise ChangedError(_changed(url, f"{now.size if now else 'no'} bytes, listed with {size}"))
            raise ShortReadError(f"{len(data)} of {size} bytes came")
        return data

    with explained(url):
        return retrying_here(once, url)


def fetch(store: Store, entry: Entry, uri: str, start: int, end: int) -> bytes:
    """Bytes `start` to `end` of a remote file, as many or an error; a temporary fault is tried again."""
    if start >= end:
        return b""

    def once() -> bytes:
        data = store.read(entry.path, start, end, entry.version)
        if len(data) != end - start:
            raise ShortReadError(f"{len(data)} of {end - start} bytes from byte {start} came")
        return data

    try:
        with explained(uri):
            return retrying_here(once, uri)
    except MissingError as error:
        raise ChangedError(_changed(uri, "gone, or replaced")) from error


def _read_local(url: str, stream: IO[bytes], most: int) -> bytes:
    size = os.fstat(stream.fileno()).st_size
    data = stream.read(size + 1) if size <= most else b""
    while size < len(data) <= most and (more := stream.read(BLOCK_BYTES)):
        data += more  # it grows, or the system does not know its size (/proc)
    if max(size, len(data)) > most:
        raise _too_large(url, most)
    return data


def _too_large(url: str, most: int) -> StorageError:
    return StorageError(f"{url}: larger than {most:,} bytes, so it is not read whole. Check the name.")


def _refuse_change(file: StoredFile | None, version: str) -> None:
    if file is not None and version and file.version != version:
        raise ChangedError(_changed(file.url, f"version {file.version}, planned with {version}"))


def _changed(uri: str, what: str) -> str:
    return (
        f"{uri}: changed since the run was planned ({what}). Start the run again with another --output or --overwrite."
    )
