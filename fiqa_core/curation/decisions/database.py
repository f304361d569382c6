"""The tables in which decisions are made: DuckDB, on disk where memory is short, with each label stored once.

Tables: `raw` (all rows: rid, label, quality, own, unread = the row stands for the rest of a shard, s0-s3 = the
SHA-256 as four numbers; pixels, quantisation and bytes of the stored image, null if not in the table), `labels` (code,
label; in order of the labels' bytes), `findings` and `pairs` (as given), `reviewed` (rows that a person decided about),
`matched` (rows for which a condition of the policy holds),
`state` (own rows; `rules` adds columns).
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fiqa_core.curation.decisions.review import Review
from fiqa_core.tables.quality_files import TableError, TableFile
from fiqa_core.tables.row_batches import read_ahead, read_batches, read_part
from fiqa_core.wording import counted, first_line
from schemas.label_verdicts import LabelVerdict
from schemas.reasons import SHARD_LEVEL, Status

MEMORY_BYTES = 1 << 30
_FEW_ROWS = 200_000

# Codes in tables: 0 is "none", the others count from 1 in the order of their list.
VERDICTS = (None, *LabelVerdict)
KEEP, DROP, RELABELLED = 1, 2, 4
KINDS = ("cosine", "picture", "phash")

_UNREAD = pa.array([str(status) for status in SHARD_LEVEL])

CALIBRATED = ("percentile", "predicted_fnmr")
_SHAPE = ("width", "height", "quantisation", "bytes", *CALIBRATED)
_RAW = pa.schema(
    [("rid", pa.int64()), ("label", pa.string()), ("quality", pa.float32()), ("own", pa.bool_())]
    + [("unread", pa.bool_())]
    + [(f"s{word}", pa.uint64()) for word in range(4)]
    + [("pixels", pa.int64()), ("quantisation", pa.float32()), ("bytes", pa.int64())]
    + [("percentile", pa.float32()), ("predicted_fnmr", pa.float32())]
)
_LABELS = pa.schema(
    [
        ("rid", pa.int64()),
        ("centre_cosine", pa.float32()),
        ("genuine_cosine", pa.float32()),
        ("nearest_label", pa.string()),
        ("nearest_cosine", pa.float32()),
        ("label_verdict", pa.string()),
    ]
)
_PAIRS = pa.schema(
    [("a", pa.int64()), ("b", pa.int64()), ("similarity", pa.float32()), ("kind", pa.string()), ("crowd", pa.int64())]
)
# Columns that are missing in findings of earlier versions.
_ADDED = {"crowd", "genuine_cosine"}


@dataclass(frozen=True)
class Findings:
    """Files with findings about rows: verdicts on labels, and pairs that show nearly the same picture."""

    labels: tuple[str, ...] = ()
    pairs: tuple[str, ...] = ()


@contextmanager
def open_database(folder: Path, memory_bytes: int = MEMORY_BYTES, threads: int = 0, rows: int = 0) -> Iterator[Any]:
    """A database in a folder for nothing else; data that does not fit in memory goes to files there.

    Args:
        folder: on a local disk. memory_bytes: DuckDB's own limit. threads: 0 = the cores. rows: expected number;
            few rows are held in memory, which saves a flush to disk after every step.
    """
    settings = {
        "memory_limit": f"{memory_bytes // 1_000_000}MB",
        "temp_directory": str(folder / "spill"),
        "threads": threads or max(2, os.cpu_count() or 1),
        "preserve_insertion_order": False,
        # No query may download anything.
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
    }
    place = ":memory:" if rows <= _FEW_ROWS else str(folder / "decisions.duckdb")
    connection = duckdb.connect(place, config=settings)
    try:
        yield connection
    except duckdb.OutOfMemoryException as error:
        raise MemoryError(first_line(error)) from error
    except duckdb.IOException as error:
        raise OSError(f"{folder}: {first_line(error)}") from error
    except duckdb.Error as error:
        raise RuntimeError(f"the database of the decisions failed: {first_line(error)}") from error
    finally:
        connection.close()


def load_rows(db: Any, own: Sequence[TableFile], against: Sequence[TableFile], scale: str = "quality") -> None:
    """Fill `raw` and `labels`; `scale`: the column that is their quality. `reviewed` and `matched` are empty until
    `load_review` and `conditions.load_matches` fill them.

    Raises:
        TableError: a damaged file, or a scored row without a quality.
    """
    parts = [*((part, True) for part in own), *((part, False) for part in against)]
    insert(db, "raw", _RAW, (batch for part, is_own in parts for batch in _raw_batches(part, is_own, scale)))
    db.execute(
        "CREATE TABLE labels AS SELECT (row_number() OVER (ORDER BY label) - 1)::INTEGER AS code, label "
        "FROM (SELECT DISTINCT label FROM raw WHERE own AND label IS NOT NULL)"
    )
    db.execute("CREATE TABLE reviewed (rid BIGINT, code UTINYINT)")
    db.execute("CREATE TABLE matched (rid BIGINT, condition UTINYINT)")


def load_findings(db: Any, findings: Findings, own_rows: int, all_rows: int) -> None:
    """Fill `findings` and `pairs` (empty where there are none).

    Raises:
        TableError: a damaged or foreign file, or one that was made for another table.
    """
    insert(db, "findings", _LABELS, _typed(findings.labels, _LABELS))
    known = ", ".join(f"'{verdict}'" for verdict in LabelVerdict)
    _refuse(db, f"findings WHERE NOT (rid BETWEEN 0 AND {own_rows - 1})", "rid", findings.labels)
    _refuse(db, f"findings WHERE label_verdict NOT IN ({known})", "label_verdict", findings.labels)
    _refuse(db, "(SELECT rid FROM findings GROUP BY rid HAVING count(*) > 1)", "rid (twice)", findings.labels)
    insert(db, "pairs", _PAIRS, _typed(findings.pairs, _PAIRS))
    bad = f"a >= 0 AND a < b AND a < {own_rows} AND b < {all_rows}"
    _refuse(db, f"pairs WHERE ({bad}) IS NOT TRUE", "a, b", findings.pairs)
    _refuse(db, "pairs WHERE isfinite(similarity) IS NOT TRUE", "similarity", findings.pairs)
    _refuse(db, f"pairs WHERE (kind IN {KINDS}) IS NOT TRUE", "kind", findings.pairs)
    _refuse(db, f"pairs WHERE crowd IS NOT NULL AND NOT (crowd IN (a, b) AND b < {own_rows})", "crowd", findings.pairs)


def load_review(db: Any, review: Review | None) -> int:
    """Fill `reviewed` (rid, code: the sum of KEEP or DROP, and RELABELLED); the number of images of the review that no
    own row has."""
    if review is None:
        return 0
    table = review.table()
    db.register("incoming", table)
    db.execute(
        "INSERT INTO reviewed SELECT rid, "
        f"CASE verdict WHEN 'keep' THEN {KEEP} WHEN 'drop' THEN {DROP} ELSE 0 END + "
        f"CASE WHEN incoming.label IS NULL THEN 0 ELSE {RELABELLED} END "
        "FROM raw JOIN incoming USING (s0, s1, s2, s3) WHERE own"
    )
    known = scalar(db, "SELECT count(*) FROM incoming SEMI JOIN (SELECT * FROM raw WHERE own) USING (s0, s1, s2, s3)")
    db.unregister("incoming")
    return int(table.num_rows) - int(known)


def insert(db: Any, table: str, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
    """Make a table from Arrow batches; an error of their source is raised unchanged."""
    raised: list[BaseException] = []

    def guarded() -> Iterator[pa.RecordBatch]:
        try:
            yield from read_ahead(batches)
        except BaseException as error:
            raised.append(error)
            raise

    db.register("incoming", pa.RecordBatchReader.from_batches(schema, guarded()))
    try:
        db.execute(f"CREATE TABLE {table} AS SELECT * FROM incoming")
    except duckdb.Error:
        if raised:
            raise raised[0] from None
        raise
    finally:
        db.unregister("incoming")


def scalar(db: Any, query: str, *parameters: Any) -> Any:
    """The first value of the first row; None if there is no row."""
    found = row(db, query, *parameters)
    return found[0] if found else None


def row(db: Any, query: str, *parameters: Any) -> tuple[Any, ...]:
    """The first row; empty if there is none. The whole result is fetched, or DuckDB would keep it open."""
    rows = db.execute(query, parameters).fetchall()
    return tuple(rows[0]) if rows else ()


def _raw_batches(part: TableFile, own: bool, scale: str) -> Iterator[pa.RecordBatch]:
    label = ["label"] if "label" in part.columns else []
    shape = [name for name in _SHAPE if name in part.columns]
    first = part.first
    for batch in read_part(part, [*label, *shape, "quality", "status", "sha256"]):
        rows = batch.num_rows
        quality = _cast(batch, scale if own else "quality", pa.float32(), part.url)
        codes = _cast(batch, "status", pa.string(), part.url)
        status = pc.fill_null(pc.equal(codes, Status.SCORED.value), False)
        if pc.any(pc.and_(status, pc.invert(pc.fill_null(pc.is_finite(quality), False)))).as_py():
            raise TableError(f"{part.url}: a row of status `scored` has no finite quality. {_without_quality(part)}")
        columns = [
            pa.array(np.arange(first, first + rows)),
            _cast(batch, "label", pa.string(), part.url) if label else pa.nulls(rows, pa.string()),
            pc.if_else(status, quality, None),
            pa.repeat(own, rows),
            pc.is_in(codes, _UNREAD),
            *digest_words(_cast(batch, "sha256", pa.binary(32), part.url)),
            *_shape(batch, part.url),
        ]
        first += rows
        yield pa.RecordBatch.from_arrays(columns, schema=_RAW)


def _shape(batch: pa.RecordBatch, url: str) -> list[pa.Array]:
    """Pixels, quantisation and bytes of the stored images; percentile and predicted FNMR of their scores."""

    def column(name: str, kind: pa.DataType) -> pa.Array:
        return _cast(batch, name, kind, url) if name in batch.schema.names else pa.nulls(batch.num_rows, kind)

    pixels = pc.multiply(column("width", pa.int64()), column("height", pa.int64()))
    measured = [column(name, pa.float32()) for name in CALIBRATED]
    return [pixels, column("quantisation", pa.float32()), column("bytes", pa.int64()), *measured]


def _without_quality(part: TableFile) -> str:
    if part.embedding_dim:
        return (
            "It looks like an output of fiqa embed, which has no quality: give it as --embeddings, and a table with "
            "scores here."
        )
    return "Score its part again."


def digest_words(digests: pa.Array) -> list[pa.Array]:
    """Four numbers for each digest of 32 bytes; null where the digest is null."""
    if not len(digests):
        return [pa.array([], pa.uint64())] * 4
    missing = np.asarray(digests.is_null())
    data = np.zeros((len(digests), 4), "<u8")
    buffer = digests.buffers()[1]
    if buffer is not None:
        whole = np.frombuffer(buffer, "<u8", len(digests) * 4, digests.offset * 32)
        data = whole.reshape(-1, 4)
    return [pa.array(data[:, word], mask=missing) for word in range(4)]


def _cast(batch: pa.RecordBatch, name: str, kind: pa.DataType, url: str) -> pa.Array:
    column = batch.column(name)
    try:
        return column if column.type == kind else column.cast(kind)
    except pa.ArrowException as error:
        raise TableError(f"{url}: column {name!r} is {column.type}, expected {kind}.") from error


def _typed(urls: Sequence[str], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    for url in urls:
        try:
            for batch in read_batches(url, schema.names):
                missing = [name for name in schema.names if name not in batch.schema.names]
                if set(missing) - _ADDED:
                    raise TableError(f"{url}: the column {missing[0]!r} is missing. Expected {schema.names}.")
                columns = [
                    pa.nulls(batch.num_rows, schema.field(name).type)
                    if name in missing
                    else _cast(batch, name, schema.field(name).type, url)
                    for name in schema.names
                ]
                yield pa.RecordBatch.from_arrays(columns, schema=schema)
        except FileNotFoundError as error:
            raise TableError(f"{url}: no such file of findings.") from error


def _refuse(db: Any, rows: str, what: str, urls: Sequence[str]) -> None:
    count = scalar(db, f"SELECT count(*) FROM {rows}")
    if count:
        raise TableError(
            f"{urls[0].rpartition('/')[0]}: {counted(count, 'row of the findings has', 'rows of the findings have')} a "
            f"{what} that does not fit this table. "
            "They were made for other --quality or --against files (or for these in another order): make them again."
        )
