"""The thumbnails of all rows, published for the workers and read a few at a time."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from fiqa_core.curation.findings.tasks import load_array
from fiqa_core.images.thumbnail import THUMBNAIL_BYTES
from fiqa_core.storage import is_local, join, open_read, publish, temporary_for
from fiqa_core.tables.quality_files import TableError, TableFile
from fiqa_core.tables.row_batches import read_ahead, read_part

COLUMN = "thumb"
_READ_AT_ONCE = 4096


def have_thumbnails(parts: Sequence[TableFile]) -> bool:
    """Whether every file has the column."""
    return all(COLUMN in part.columns for part in parts)


def publish_thumbnails(parts: Sequence[TableFile], output: str, work: str) -> None:
    """Publish one array of thumbnails, by rid; zeros if a row has none. Takes a few megabytes of memory."""
    rows = sum(part.rows for part in parts)
    header = {"descr": "|u1", "fortran_order": False, "shape": (rows, THUMBNAIL_BYTES)}
    with temporary_for(output) as path:
        with path.open("wb") as stream:
            np.lib.format.write_array_header_1_0(stream, header)
            thumbs = ((part.url, batch.column(0)) for part in parts for batch in read_part(part, [COLUMN]))
            for url, column in read_ahead(thumbs):
                stream.write(_bytes(column, url).data)
        publish(path, _file(work))


def thumbnails_of(work: str, rid: np.ndarray) -> np.ndarray:
    """Thumbnails uint8 (n, 1024) of rows in ascending order of rid; from a store only the blocks with these rows are
    read."""
    if is_local(work):
        return np.asarray(load_array(_file(work))[rid])
    found = np.empty((len(rid), THUMBNAIL_BYTES), np.uint8)
    with open_read(_file(work)) as stream:
        np.lib.format.read_magic(stream)
        np.lib.format.read_array_header_1_0(stream)
        begin = stream.tell()
        for start in range(int(rid[0]) if len(rid) else 0, int(rid[-1]) + 1 if len(rid) else 0, _READ_AT_ONCE):
            low, high = np.searchsorted(rid, [start, start + _READ_AT_ONCE])
            if low == high:
                continue
            first, last = int(rid[low]), int(rid[high - 1])
            stream.seek(begin + first * THUMBNAIL_BYTES)
            data = np.frombuffer(stream.read((last + 1 - first) * THUMBNAIL_BYTES), np.uint8)
            found[low:high] = data.reshape(-1, THUMBNAIL_BYTES)[rid[low:high] - first]
    return found


def _file(work: str) -> str:
    return join(work, "thumbnails.npy")


def _bytes(column: pa.Array, url: str) -> np.ndarray:
    if column.null_count or not len(column):
        column = column.cast(pa.binary()).fill_null(bytes(THUMBNAIL_BYTES))
    if not len(column):
        return np.empty(0, np.uint8)
    try:
        column = column.cast(pa.binary(THUMBNAIL_BYTES))
    except pa.ArrowException as error:
        raise TableError(
            f"{url}: column {COLUMN!r} ({column.type}): expected {THUMBNAIL_BYTES} bytes a row."
        ) from error
    flat = np.frombuffer(column.buffers()[1], np.uint8)
    start = column.offset * THUMBNAIL_BYTES
    return np.ascontiguousarray(flat[start : start + len(column) * THUMBNAIL_BYTES])
