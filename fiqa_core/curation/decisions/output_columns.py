"""From the decided `state` to the columns of the decisions table, in order of the rows' numbers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from fiqa_core.curation.decisions.database import DROP, KEEP, insert, scalar
from fiqa_core.curation.decisions.policy import TIERS, Policy
from fiqa_core.curation.decisions.reason_codes import reason_code
from fiqa_core.curation.decisions.row_rules import float32
from fiqa_core.curation.decisions.written_conditions import DROP_WHERE
from fiqa_core.tables.quality_files import TableFile
from fiqa_core.tables.row_batches import ROWS_AT_ONCE, read_part

_REFERENCES = pa.schema([("rid", pa.int64()), ("key", pa.string()), ("shard", pa.string()), ("index", pa.int64())])


@dataclass(frozen=True)
class ColumnsOf:
    """A policy's tiers and weights as SQL on `state`.

    Attributes:
        quantile: quality_quantile, DOUBLE. tier: `A` to `E`, null unless scored. weight: FLOAT, 0 unless kept.
    """

    quantile: str
    tier: str
    weight: str


def columns_of(db: Any, policy: Policy) -> ColumnsOf:
    """The expressions; they depend on the dataset's number of scored rows."""
    scored = scalar(db, "SELECT count(quality) FROM state") or 1
    quantile = f"(lower::DOUBLE / {scored})"
    value = quantile if policy.tiers.by == "quantile" else "quality"

    def edge(value: float) -> str:
        # An edge is compared in 32 bits, as the table's qualities are.
        return f"{value!r}::DOUBLE" if policy.tiers.by == "quantile" else float32(value)

    def by_tier(results: Sequence[Any]) -> str:
        cases = " ".join(
            f"WHEN {value} >= {edge(least)} THEN {result!r}"
            for least, result in zip(policy.tiers.edges, results[:-1], strict=True)
        )
        return f"(CASE WHEN quality IS NULL THEN NULL {cases} ELSE {results[-1]!r} END)"

    weights = policy.weights
    low, high = weights.low or 0.0, weights.high or 1.0
    shape = {
        "uniform": "1.0::DOUBLE",
        "quantile": f"({weights.floor!r}::DOUBLE + {1 - weights.floor!r}::DOUBLE * {quantile})",
        "linear": f"({weights.floor!r}::DOUBLE + {1 - weights.floor!r}::DOUBLE * greatest(0::DOUBLE, least(1::DOUBLE, "
        f"(quality::DOUBLE - {low!r}::DOUBLE) / {high - low!r}::DOUBLE)))",
        "tier": f"{by_tier(weights.tiers)}::DOUBLE",
    }[weights.mode]
    found = f"CASE WHEN found THEN {policy.quality.found_weight!r}::DOUBLE ELSE 1::DOUBLE END"
    return ColumnsOf(quantile, by_tier(TIERS), f"(CASE WHEN reason = 0 THEN {shape} * {found} ELSE 0 END)::FLOAT")


def load_references(db: Any, parts: Sequence[TableFile]) -> None:
    """`refs`: key, shard and index of the rows that others are duplicates of (only their files are read)."""
    wanted = db.execute("SELECT DISTINCT other FROM linked WHERE other IS NOT NULL ORDER BY other").fetchnumpy()[
        "other"
    ]
    insert(db, "refs", _REFERENCES, _references(parts, wanted))


def decision_rows(db: Any, columns: ColumnsOf) -> Iterator[pa.RecordBatch]:
    """The decisions, one row for each row of `state` in order of rid: codes, numbers, and a few strings."""
    query = (
        f"SELECT state.rid, reason, {columns.tier} AS tier, {columns.weight} AS weight, "
        f"{columns.quantile}::FLOAT AS quality_quantile, "
        "(identity_lower::DOUBLE / identity_images)::FLOAT AS identity_quantile, identity_images, verdict, "
        "f.centre_cosine, f.genuine_cosine, recognised, f.nearest_label, f.nearest_cosine, "
        'refs.key AS duplicate_of, refs.shard AS duplicate_of_shard, refs."index" AS duplicate_of_index, '
        "l.similarity AS duplicate_similarity, "
        # A verdict says more than a label that comes with it.
        f"(CASE WHEN reviewed & {KEEP | DROP} > 0 THEN reviewed & {KEEP | DROP} WHEN reviewed > 0 THEN 3 ELSE 0 END)"
        "::UTINYINT AS reviewed, "
        f"(CASE WHEN reason = {reason_code(DROP_WHERE)} THEN m.condition ELSE 0 END)::UTINYINT AS condition "
        "FROM state LEFT JOIN findings f ON f.rid = state.rid "
        "LEFT JOIN (SELECT rid, other, similarity FROM linked) l ON l.rid = state.rid "
        "LEFT JOIN refs ON refs.rid = l.other LEFT JOIN matched m ON m.rid = state.rid ORDER BY state.rid"
    )
    # Without this setting a stream may come in another order despite ORDER BY (duckdb 2.0).
    db.execute("SET preserve_insertion_order = true")
    expected = 0
    for batch in db.sql(query).to_arrow_reader(ROWS_AT_ONCE):
        rids = batch.column("rid").to_numpy()
        if not np.array_equal(rids, np.arange(expected, expected + len(rids))):
            raise RuntimeError(f"the decisions are not in order after row {expected}; nothing more is written")
        expected += len(rids)
        yield batch


def _references(parts: Sequence[TableFile], wanted: Any) -> Iterator[pa.RecordBatch]:
    for part in parts:
        low, high = np.searchsorted(wanted, [part.first, part.first + part.rows])
        if low == high:
            continue
        first = part.first
        for batch in read_part(part, ["key", "shard", "index"]):
            low, high = np.searchsorted(wanted, [first, first + batch.num_rows])
            places = wanted[low:high]
            if len(places):
                rows = batch.take(pa.array(places - first))
                columns = [pa.array(places), *(rows.column(n) for n in ("key", "shard", "index"))]
                yield pa.RecordBatch.from_arrays(columns, schema=_REFERENCES)
            first += batch.num_rows
