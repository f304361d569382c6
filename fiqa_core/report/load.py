"""The tables of a report in DuckDB: `rows` (one per record, only what is counted) and `identities`.

`rows`: rid, label, quality (null unless scored), status, reason (null where kept or not decided), odd (how much nearer
the embedding is to another identity; null unless the label is judged wrong), reviewed, g0, g1, ... (`--group-by`).
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fiqa_core.curation.decisions.database import insert
from fiqa_core.report.decided import Decided
from fiqa_core.report.settings import ReportError
from fiqa_core.tables.quality_files import TableFile
from fiqa_core.tables.row_batches import read_batches, read_part
from schemas.label_verdicts import LabelVerdict
from schemas.reasons import Status

_BASE = [("rid", pa.int64()), ("label", pa.string()), ("quality", pa.float32()), ("status", pa.string())]
_DECIDED = [("reason", pa.string()), ("odd", pa.float32()), ("reviewed", pa.string())]


def load(db: Any, parts: Sequence[TableFile], decided: Decided | None, group_by: Sequence[str]) -> None:
    """Fill `rows` and `identities`.

    Raises:
        TableError: a damaged file. ReportError: a column of `group_by` that is not there, or cannot be grouped by.
    """
    groups = [_group_type(name, parts, decided) for name in group_by]
    schema = pa.schema(_BASE + _DECIDED + [(f"g{number}", kind) for number, kind in enumerate(groups)])
    insert(db, "rows", schema, _batches(parts, decided, group_by, schema))
    db.execute(
        "CREATE TABLE identities AS SELECT label, count(*) AS rows, count(quality) AS images, "
        "count(*) FILTER (reason IS NULL AND quality IS NOT NULL) AS kept, avg(quality) AS mean, "
        "min(quality) AS worst, max(quality) AS best, coalesce(stddev_pop(quality), 0) AS spread, "
        "arg_max(rid, (quality, -rid)) FILTER (quality IS NOT NULL) AS best_rid, "
        "arg_min(rid, (quality, rid)) FILTER (quality IS NOT NULL) AS worst_rid "
        "FROM rows WHERE label IS NOT NULL GROUP BY label"
    )


def _group_type(name: str, parts: Sequence[TableFile], decided: Decided | None) -> pa.DataType:
    columns = [set(part.columns) for part in parts] or [set()]
    if not set.intersection(*columns) >= {name} and not (decided and name in decided.columns):
        known = sorted(set.intersection(*columns) | set(decided.columns if decided else ()))
        raise ReportError(f"--group-by {name}: not a column of every file; there are {', '.join(known)}")
    url = parts[0].url if name in columns[0] else decided.urls[0] if decided else ""
    for batch in read_batches(url, [name]):
        kind = batch.schema.field(0).type
        plain = kind.value_type if pa.types.is_dictionary(kind) else kind
        if pa.types.is_floating(plain) or pa.types.is_integer(plain):
            return pa.float64()
        if pa.types.is_string(plain) or pa.types.is_large_string(plain) or pa.types.is_boolean(plain):
            return pa.string()
        raise ReportError(f"--group-by {name}: the column is {plain}; expected text, numbers or true/false")
    return pa.string()


def _batches(
    parts: Sequence[TableFile], decided: Decided | None, group_by: Sequence[str], schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    for number, part in enumerate(parts):
        own = [name for name in group_by if name in part.columns]
        rows = read_part(part, list(dict.fromkeys([*_labelled(part), "quality", "status", *own])))
        url = decided.urls[number] if decided else ""
        beside = _beside(url, decided, [name for name in group_by if name not in own])
        first = part.first
        for batch in rows:
            extra = next(beside, None) if decided else None
            if decided and (extra is None or extra.num_rows != batch.num_rows):
                raise ReportError(f"{url}: its rows do not go with {part.url}. Run fiqa filter again.")
            yield _rows(batch, extra, first, group_by, schema)
            first += batch.num_rows


def _labelled(part: TableFile) -> list[str]:
    return ["label"] if "label" in part.columns else []


def _beside(url: str, decided: Decided | None, more: Sequence[str]) -> Iterator[pa.RecordBatch]:
    if decided is None:
        return
    wanted = ["label", "reason", "centre_cosine", "nearest_cosine", "label_verdict", "reviewed", *more]
    yield from read_batches(url, [name for name in dict.fromkeys(wanted) if name in decided.columns])


def _rows(
    batch: pa.RecordBatch, extra: pa.RecordBatch | None, first: int, group_by: Sequence[str], schema: pa.Schema
) -> pa.RecordBatch:
    count = batch.num_rows

    def column(source: pa.RecordBatch | None, name: str, kind: pa.DataType) -> pa.Array:
        if source is None or name not in source.schema.names:
            return pa.nulls(count, kind)
        return source.column(name).cast(kind)

    status = column(batch, "status", pa.string())
    quality = column(batch, "quality", pa.float32())
    scored = pc.fill_null(pc.and_(pc.equal(status, Status.SCORED.value), pc.is_finite(quality)), False)
    reason = column(extra, "reason", pa.string())
    verdict = column(extra, "label_verdict", pa.string())
    odd = pc.subtract(column(extra, "nearest_cosine", pa.float32()), column(extra, "centre_cosine", pa.float32()))
    columns = [
        pa.array(np.arange(first, first + count)),
        # A reviewed label stands in the decisions.
        column(extra if extra is not None else batch, "label", pa.string()),
        pc.if_else(scored, quality, None),
        status,
        reason,
        pc.if_else(pc.fill_null(pc.equal(verdict, LabelVerdict.WRONG_LABEL.value), False), odd, None),
        column(extra, "reviewed", pa.string()),
    ]
    for number, name in enumerate(group_by):
        source = batch if name in batch.schema.names else extra
        columns.append(column(source, name, schema.field(f"g{number}").type))
    return pa.RecordBatch.from_arrays(columns, schema=schema)
