"""Read one image file of a local disk, or of any store: its bytes, or the reason why there are none."""

import errno
import hashlib
import os
from stat import S_ISREG
from typing import Any, NamedTuple

from fiqa_core.shards.unit import Fault
from fiqa_core.storage import open_read, read_small
from schemas.reasons import Status

_CHUNK = 1 << 20
# A sparse file of 8 EiB costs nothing to make, and centuries to hash.
MAX_HASHED_BYTES = 16 << 30

# The file cannot be read although the store works: this becomes a row. Everything else (network, no more file
# handles ...) is the store's failure, and the unit is tried again.
_LOST_FILE = (FileNotFoundError, PermissionError, IsADirectoryError)
_LOST_ERRNO = {errno.EIO, errno.ELOOP, errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL}


class FileContent(NamedTuple):
    """A file's bytes, or the reason why there are none; the sha256 of a file that is too large to keep."""

    data: bytes | None
    fault: Fault | None = None
    sha256: bytes | None = None


def read_local_image(path: str, limit: int) -> FileContent:
    """A file of a local disk, of at most `limit` bytes.

    Raises:
        OSError: the store failed, and not only this file.
    """
    try:
        # Calls of the system itself: through Path, they take longer than reading a small image.
        details = os.stat(path)  # noqa: PTH116
        if not S_ISREG(details.st_mode):
            return FileContent(None, Fault(Status.UNREADABLE, "not a regular file"))
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC), "rb", buffering=0) as stream:
            return _read_stream(stream, limit, details.st_size)
    except OSError as error:
        if isinstance(error, _LOST_FILE) or error.errno in _LOST_ERRNO:
            reason = error.strerror or str(error) or "gone since it was listed"
            return FileContent(None, Fault(Status.UNREADABLE, f"{type(error).__name__}: {reason}"))
        raise


def read_stored_image(url: str, size: int, limit: int) -> FileContent:
    """A file of a store, of `size` bytes by its listing (-1: not known) and at most `limit`.

    Raises:
        MissingError: it is not there. StorageError: the store failed.
    """
    if size > limit:
        with open_read(url) as stream:
            return _read_stream(stream, limit, limit)
    return FileContent(read_small(url, size))


def _read_stream(stream: Any, limit: int, expected: int) -> FileContent:
    # Making room for as much as the limit allows takes longer than reading a small image.
    data = stream.read(min(limit, expected) + 1)
    if expected < len(data) <= limit:
        data += stream.read(limit + 1 - len(data))  # it has grown, or the system does not know its size (/proc)
    if len(data) <= limit:
        return FileContent(data)
    digest, size = hashlib.sha256(data), len(data)
    del data
    while size <= MAX_HASHED_BYTES and (chunk := stream.read(_CHUNK)):
        digest.update(chunk)
        size += len(chunk)
    if size > MAX_HASHED_BYTES:
        fault = Fault(Status.TOO_LARGE, f"more than {MAX_HASHED_BYTES} stored bytes; the limit is {limit}")
        return FileContent(None, fault)
    return FileContent(None, Fault(Status.TOO_LARGE, f"{size} stored bytes; the limit is {limit}"), digest.digest())
