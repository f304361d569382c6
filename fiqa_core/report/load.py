"""The tables of a report in DuckDB: `rows` (one per record, only what is counted) and `identities`.

`rows`: rid, label, quality (null unless scored), status, reason (null where kept or not decided), odd (how much nearer
the embedding is to another identity; null unless the label is judged wrong), reviewed, s0 and s1 (the first half of the
SHA-256 as two numbers), percentile and predicted_fnmr (null without a calibration), pixels, quantisation and bytes
(null unless near duplicates are looked for), g0, g1, ... (`--group-by`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fiqa_core.curation.decisions.database import CALIBRATED, digest_words, insert
from fiqa_core.report.decided import Decided
from fiqa_core.report.settings import ReportError
from fiqa_core.storage import exists
from fiqa_core.tables.groups import Groups, read_groups
from fiqa_core.tables.quality_files import TableError, TableFile
from fiqa_core.tables.row_batches import read_batches, read_part
from schemas.label_verdicts import LabelVerdict
from schemas.reasons import Status

_BASE = [("rid", pa.int64()), ("label", pa.string()), ("quality", pa.float32()), ("status", pa.string())]
_DECIDED = [("reason", pa.string()), ("odd", pa.float32()), ("reviewed", pa.string())]
_WORDS = [("s0", pa.uint64()), ("s1", pa.uint64())]
_CALIBRATED = [(name, pa.float32()) for name in CALIBRATED]
_SHAPE = [("pixels", pa.int64()), ("quantisation", pa.float32()), ("bytes", pa.int64())]


@dataclass(frozen=True)
class GroupBy:
    """What rows are grouped by. `kind`: text or float64. `file`: the groups by key, None where it is a column."""

    name: str
    kind: pa.DataType
    file: Groups | None = None


@dataclass(frozen=True)
class Wanted:
    """What is loaded beside the basic columns. `scale`: the column that is the quality. `shape`: size and compression
    of the images, by which the original of near duplicates is told."""

    groups: tuple[GroupBy, ...] = ()
    scale: str = "quality"
    shape: bool = False


def groups_by(
    names: Sequence[str], parts: Sequence[TableFile], decided: Decided | None, key_column: str, group_column: str
) -> tuple[GroupBy, ...]:
    """What `--group-by` names: columns of the table or of the decisions, or files with a key and a group a row.

    Raises:
        ReportError: neither, or a column that cannot be grouped by. TableError: a file that does not fit the table.
    """
    return tuple(_group_by(name, parts, decided, key_column, group_column) for name in names)


def load(db: Any, parts: Sequence[TableFile], decided: Decided | None, wanted: Wanted) -> None:
    """Fill `rows` and `identities`.

    Raises:
        TableError: a damaged file. ReportError: decisions that do not go with the table.
    """
    groups = [(f"g{number}", group.kind) for number, group in enumerate(wanted.groups)]
    schema = pa.schema(_BASE + _DECIDED + _WORDS + _CALIBRATED + _SHAPE + groups)
    insert(db, "rows", schema, _batches(parts, decided, wanted, schema))
    db.execute(
        "CREATE TABLE identities AS SELECT label, count(*) AS rows, count(quality) AS images, "
        "count(*) FILTER (reason IS NULL AND quality IS NOT NULL) AS kept, avg(quality) AS mean, "
        "min(quality) AS worst, max(quality) AS best, coalesce(stddev_pop(quality), 0) AS spread, "
        "arg_max(rid, (quality, -rid)) FILTER (quality IS NOT NULL) AS best_rid, "
        "arg_min(rid, (quality, rid)) FILTER (quality IS NOT NULL) AS worst_rid "
        "FROM rows WHERE label IS NOT NULL GROUP BY label"
    )


def _group_by(
    name: str, parts: Sequence[TableFile], decided: Decided | None, key_column: str, group_column: str
) -> GroupBy:
    columns = [set(part.columns) for part in parts] or [set()]
    if not set.intersection(*columns) >= {name} and not (decided and name in decided.columns):
        if parts and exists(name):
            return GroupBy(name, pa.string(), read_groups(name, parts, key_column, group_column))
        known = sorted(set.intersection(*columns) | set(decided.columns if decided else ()))
        raise ReportError(
            f"--group-by {name}: neither a column of every file nor a file; the columns are {', '.join(known)}"
        )
    url = parts[0].url if name in columns[0] else decided.urls[0] if decided else ""
    for batch in read_batches(url, [name]):
        kind = batch.schema.field(0).type
        plain = kind.value_type if pa.types.is_dictionary(kind) else kind
        if pa.types.is_floating(plain) or pa.types.is_integer(plain):
            return GroupBy(name, pa.float64())
        if pa.types.is_string(plain) or pa.types.is_large_string(plain) or pa.types.is_boolean(plain):
            return GroupBy(name, pa.string())
        raise ReportError(f"--group-by {name}: the column is {plain}; expected text, numbers or true/false")
    return GroupBy(name, pa.string())


def _batches(
    parts: Sequence[TableFile], decided: Decided | None, wanted: Wanted, schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    for number, part in enumerate(parts):
        own = [group.name for group in wanted.groups if group.file is None and group.name in part.columns]
        keys = ["key"] if any(group.file is not None for group in wanted.groups) else []
        extra = [name for name in ("label", wanted.scale, *CALIBRATED) if name in part.columns]
        shape = [name for name in ("width", "height", "quantisation", "bytes") if wanted.shape and name in part.columns]
        rows = read_part(part, list(dict.fromkeys([*extra, *shape, "status", "sha256", *keys, *own])))
        url = decided.urls[number] if decided else ""
        beside = _beside(url, decided, [group.name for group in wanted.groups if group.file is None])
        first = part.first
        for batch in rows:
            judged = next(beside, None) if decided else None
            if decided and (judged is None or judged.num_rows != batch.num_rows):
                raise ReportError(f"{url}: its rows do not go with {part.url}. Run fiqa filter again.")
            yield _rows(batch, judged, first, wanted, schema, part.url)
            first += batch.num_rows


def _beside(url: str, decided: Decided | None, more: Sequence[str]) -> Iterator[pa.RecordBatch]:
    if decided is None:
        return
    wanted = ["label", "reason", "centre_cosine", "nearest_cosine", "label_verdict", "reviewed", *more]
    yield from read_batches(url, [name for name in dict.fromkeys(wanted) if name in decided.columns])


def _rows(
    batch: pa.RecordBatch, judged: pa.RecordBatch | None, first: int, wanted: Wanted, schema: pa.Schema, url: str
) -> pa.RecordBatch:
    count = batch.num_rows

    def column(source: pa.RecordBatch | None, name: str, kind: pa.DataType) -> pa.Array:
        if source is None or name not in source.schema.names:
            return pa.nulls(count, kind)
        return source.column(name).cast(kind)

    status = column(batch, "status", pa.string())
    quality = column(batch, wanted.scale, pa.float32())
    scored = pc.fill_null(pc.and_(pc.equal(status, Status.SCORED.value), pc.is_finite(quality)), False)
    reason = column(judged, "reason", pa.string())
    verdict = column(judged, "label_verdict", pa.string())
    odd = pc.subtract(column(judged, "nearest_cosine", pa.float32()), column(judged, "centre_cosine", pa.float32()))
    columns = [
        pa.array(np.arange(first, first + count)),
        # A reviewed label stands in the decisions.
        column(judged if judged is not None else batch, "label", pa.string()),
        pc.if_else(scored, quality, None),
        status,
        reason,
        pc.if_else(pc.fill_null(pc.equal(verdict, LabelVerdict.WRONG_LABEL.value), False), odd, None),
        column(judged, "reviewed", pa.string()),
        *_words(batch, url),
        *(pc.if_else(scored, column(batch, name, pa.float32()), None) for name in CALIBRATED),
        pc.multiply(column(batch, "width", pa.int64()), column(batch, "height", pa.int64())),
        column(batch, "quantisation", pa.float32()),
        column(batch, "bytes", pa.int64()),
    ]
    for number, group in enumerate(wanted.groups):
        if group.file is not None and group.file.file is not None:
            columns.append(group.file.file.of(column(batch, "key", pa.string())))
            continue
        source = batch if group.name in batch.schema.names else judged
        columns.append(column(source, group.name, schema.field(f"g{number}").type))
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _words(batch: pa.RecordBatch, url: str) -> list[pa.Array]:
    try:
        return digest_words(batch.column("sha256").cast(pa.binary(32)))[: len(_WORDS)]
    except pa.ArrowInvalid as error:
        raise TableError(
            f"{url}: column 'sha256' holds something that is not 32 bytes. Score its part again."
        ) from error
