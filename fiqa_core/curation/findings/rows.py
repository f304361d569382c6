"""What the search needs of every row besides its embedding: identity, quality, and which rows share its bytes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fiqa_core.curation.findings.tasks import save_array, save_table
from fiqa_core.storage import in_flight, join, open_read
from fiqa_core.tables.hash_column import hash_numbers
from fiqa_core.tables.quality_files import TableFile
from fiqa_core.tables.row_batches import checked, damage_named, labelled, stored_columns
from schemas.reasons import Status

_READ_AT_ONCE = 4
_NAMES = pa.schema([("label", pa.string())])


@dataclass(frozen=True)
class Rows:
    """Columns of all rows, by rid.

    Attributes:
        own: rows with a smaller rid belong to the dataset, the others to --against.
        label: int32, number of the identity; -1 without a label, not scored, or of --against.
        names: the identities, by number (in order of their first row).
        images: int64, scored rows of each identity.
        quality: float32, NaN without one. scored: bool.
        first: int64, the first row with the same stored bytes on the same side (own or --against); itself if alone.
        high, low: uint64, the first 16 bytes of the SHA-256 of the stored bytes (0, 0: unknown).
        phash: uint64 and bool (whether there is one); None if a table has no such column.
    """

    own: int
    label: np.ndarray
    names: pa.Array
    images: np.ndarray
    quality: np.ndarray
    scored: np.ndarray
    first: np.ndarray
    high: np.ndarray
    low: np.ndarray
    phash: tuple[np.ndarray, np.ndarray] | None


def read_rows(parts: Sequence[TableFile], own: int, phash: bool = False) -> Rows:
    """Read the columns; takes about 60 bytes of memory for each row."""
    total = sum(part.rows for part in parts)
    quality = np.full(total, np.nan, np.float32)
    scored = np.zeros(total, bool)
    label = np.full(total, -1, np.int32)
    high, low = np.zeros(total, np.uint64), np.zeros(total, np.uint64)
    hashes, hashed = (np.zeros(total, np.uint64), np.zeros(total, bool)) if phash else (None, None)
    numbers: dict[str, int] = {}
    for part, table in _tables(parts, phash):
        at = slice(part.first, part.first + part.rows)
        scored[at] = pc.equal(pc.cast(table["status"], pa.string()), Status.SCORED.value).to_numpy()
        quality[at] = pc.fill_null(pc.cast(table["quality"], pa.float32()), float("nan")).to_numpy()
        high[at], low[at] = _digests(table["sha256"])
        if part.first < own and "label" in table.column_names:
            label[at] = np.where(scored[at], _numbered(table["label"], numbers), -1)
        if hashes is not None and hashed is not None and "phash" in table.column_names:
            hashes[at], hashed[at] = hash_numbers(table["phash"], part.url)
    label[own:] = -1
    return Rows(
        own,
        label,
        pa.array(list(numbers), pa.string()),
        np.bincount(label[label >= 0], minlength=len(numbers)).astype(np.int64),
        quality,
        scored,
        _first_of_equal(high, low, own),
        high,
        low,
        None if hashes is None or hashed is None else (hashes, hashed & scored),
    )


def publish_rows(rows: Rows, output: str, work: str) -> None:
    """Publish the columns for the workers (`load_array`, `read_names`)."""
    for name in ("label", "first", "quality", "high"):
        save_array(getattr(rows, name), output, join(work, f"{name}.npy"))
    if rows.phash is not None:
        save_array(rows.phash[0], output, join(work, "phash.npy"))
        save_array(rows.phash[1], output, join(work, "hashed.npy"))
    save_table({"label": rows.names}, _NAMES, output, join(work, "names.parquet"))


def read_names(work: str) -> pa.Array:
    """The identities by number."""
    with open_read(join(work, "names.parquet")) as stream:
        return pq.read_table(stream)["label"].combine_chunks()


def _tables(parts: Sequence[TableFile], phash: bool) -> Iterator[tuple[TableFile, pa.Table]]:
    wanted = ["label", "quality", "status", "sha256"] + (["phash"] if phash else [])

    def read(part: TableFile) -> tuple[TableFile, pa.Table]:
        with damage_named(part.url), open_read(part.url) as stream:
            columns = [name for name in wanted if name in part.columns]
            return part, labelled(part, checked(stream).read(columns=stored_columns(part, columns)), columns)

    return in_flight(parts, read, _READ_AT_ONCE)


def _numbered(labels: pa.ChunkedArray, numbers: dict[str, int]) -> np.ndarray:
    encoded = pc.cast(labels, pa.string()).combine_chunks().dictionary_encode()
    known = [numbers.setdefault(name, len(numbers)) for name in encoded.dictionary.to_pylist()]
    table = np.array([*known, -1], np.int32)
    return np.asarray(table[pc.fill_null(encoded.indices, len(known)).to_numpy(zero_copy_only=False)])


def _digests(column: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    values = pc.fill_null(pc.cast(column, pa.binary()), b"\0" * 32).to_numpy()
    halves = np.frombuffer(b"".join(value[:16] for value in values), ">u8").reshape(-1, 2)
    return halves[:, 0].astype(np.uint64), halves[:, 1].astype(np.uint64)


def _first_of_equal(high: np.ndarray, low: np.ndarray, own: int) -> np.ndarray:
    first = np.arange(len(high), dtype=np.int64)
    for start, stop in ((0, own), (own, len(high))):
        order = start + np.lexsort((low[start:stop], high[start:stop]))
        if not len(order):
            continue
        new = np.ones(len(order), bool)
        new[1:] = (high[order[1:]] != high[order[:-1]]) | (low[order[1:]] != low[order[:-1]])
        new |= (high[order] == 0) & (low[order] == 0)
        # lexsort is stable: the first of a run of equal digests is the one with the lowest rid.
        first[order] = order[np.maximum.accumulate(np.where(new, np.arange(len(order)), 0))]
    return first
