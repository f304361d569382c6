"""Which tars are cut into units, and the walk over their headers that finds where."""

import contextlib
import io
import logging
import time
from collections.abc import Generator, Iterator
from itertools import pairwise
from typing import IO

from fiqa_core.shards.container import Surroundings
from fiqa_core.shards.names import printable
from fiqa_core.shards.tar.header import BLOCK
from fiqa_core.shards.tar.outline import Walk
from fiqa_core.shards.webdataset.marks import Mark, estimated_records, find_marks
from fiqa_core.shards.webdataset.tar_index import TarIndex, TarIndexError, index_url, read_index, write_index
from fiqa_core.storage import StorageError, StoredFile, exists, open_ahead, open_read
from fiqa_core.wording import counted

_log = logging.getLogger(__name__)
_GZIP_MAGIC = b"\x1f\x8b"
_LEAST_RECORD = 2 * BLOCK  # a header and some content
_LOOK_AT = 1 << 20  # bytes that tell how large records are
# The tars of a dataset of so many keep all workers busy as they are, and to cut them is to read them twice: there only
# those are cut that one worker would be busy with for long.
_MANY = 64
_LARGE_AMONG_MANY = 1 << 30
_LARGE_RECORD = 256 << 10  # from here on it is cheaper to jump over content than to read it
_SMALL_BUFFER = 4 << 10
_MOST_BREAKS = 1000  # a tar with more is damaged all over: behind them it is not cut
_TOLD_EVERY_S = 15.0
_TOLD_FROM = 1 << 30


def index_for(file: StoredFile, unit_size: int, max_bytes: int, around: Surroundings) -> TarIndex | None:
    """The index of a tar that is to be cut, kept in the plan folder: an earlier one, or made now.

    Args:
        max_bytes: most bytes of an image that is kept, as the tar will be read.

    Returns:
        None for a tar that stays one unit: compressed, or with fewer than two units of records, or of fewer bytes than
        a gigabyte among 64 shards and more, or one that the store does not give: that fails its unit, not the run.

    Raises:
        OSError: the plan folder cannot be read or written.
    """
    many = around.shards >= _MANY
    if 0 <= file.size < (_LARGE_AMONG_MANY if many else 2 * unit_size * _LEAST_RECORD):
        return None
    url = index_url(around.workspace, file, unit_size, max_bytes)
    if exists(url):
        # One that is not readable is made anew.
        with contextlib.suppress(TarIndexError):
            return read_index(url)
    try:
        found = _found(file, unit_size, max_bytes, many)
    except StorageError as error:
        _log.warning("%s is one unit, since it could not be looked through: %s", printable(file.shown), error)
        return None
    if found is None:
        return None
    marks, records, size = found
    read_index.cache_clear()
    return write_index(url, around.workspace, marks, records, size)


def _found(file: StoredFile, unit_size: int, max_bytes: int, many: bool) -> tuple[list[Mark], int, int] | None:
    """Where a tar is to be cut, its records and its bytes; None where it is not to be cut.

    Raises:
        StorageError: the store does not give it.
    """
    with open_read(file.url, file.version, _LOOK_AT) as stream:
        compressed = stream.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
        size = stream.seek(0, 2)
        if compressed or (many and size < _LARGE_AMONG_MANY):
            return None
        estimate = estimated_records(Walk(stream, size, max_bytes), size, _LOOK_AT)
    if estimate < 2 * unit_size:
        return None
    with open_ahead(file.url, file.version) as stream:
        large = size // estimate > _LARGE_RECORD
        walk = Walk(_jumping(stream) if large else stream, size, max_bytes)
        found = find_marks(walk, None if large else stream, max_bytes, unit_size)
        marks, records = _gathered(file, walk, found, size, unit_size)
    return marks, records, size


def _jumping(stream: IO[bytes]) -> IO[bytes]:
    """The stream with a buffer that holds little more than a header."""
    raw = getattr(stream, "raw", None)
    return io.BufferedReader(raw, _SMALL_BUFFER) if isinstance(raw, io.FileIO) else stream


def _gathered(
    file: StoredFile, walk: Walk, found: Generator[Mark, None, int], size: int, unit_size: int
) -> tuple[list[Mark], int]:
    begun = told = time.monotonic()
    shown = printable(file.shown)
    if size >= _TOLD_FROM:
        _log.info("%s: looking through the headers of %.1f GB for places to cut", shown, size / 1e9)
    marks: list[Mark] = []
    records, spoilt = 0, False
    for mark in _with_result(found):
        if isinstance(mark, int):
            records = mark
        elif walk.breaks > _MOST_BREAKS:
            spoilt = True
        else:
            marks.append(mark)
        if time.monotonic() > told + _TOLD_EVERY_S:
            told = time.monotonic()
            _log.info("%s: at %.1f of %.1f GB", shown, walk.reached / 1e9, size / 1e9)
    seconds = max(time.monotonic() - begun, 1e-6)
    units = 1 + sum(mark.unit for mark in marks)
    _log.log(
        logging.INFO if size >= _TOLD_FROM else logging.DEBUG,
        "%s: %s in %s, found in %.1f s (%.0f MB/s)",
        shown, counted(records, "record"), counted(units, "unit"), seconds, size / 1e6 / seconds,
    )  # fmt: skip
    _tell_of_damage(shown, walk, marks, records, unit_size, spoilt)
    return marks, records


def _with_result(found: Generator[Mark, None, int]) -> Iterator[Mark | int]:
    """The marks, and then the number of records."""
    records = yield from found
    yield records


def _tell_of_damage(shown: str, walk: Walk, marks: list[Mark], records: int, unit_size: int, spoilt: bool) -> None:
    begins = [0, *(mark.index for mark in marks if mark.unit), records]
    longest = max(end - begin for begin, end in pairwise(begins))
    if longest <= 2 * unit_size:
        return
    reason = "damaged in too many places" if spoilt else "damage" if walk.breaks else "samples of many images, or zeros"
    _log.warning(
        "%s: cannot be cut everywhere (%s), so one of its %s has %s.",
        shown, reason, counted(len(begins) - 1, "unit"), counted(longest, "record"),
    )  # fmt: skip
