"""The rows of the points, from the quality table and the decisions beside it, a bounded number at a time."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fiqa_core.atlas.settings import AtlasError
from fiqa_core.report.decided import Decided
from fiqa_core.storage import open_read
from fiqa_core.tables.quality_files import TableFile
from fiqa_core.tables.row_batches import damage_named, read_batches, read_part
from schemas import atlas as schema

# `landmarks` and `warped` say how a face was taken out of a photograph: its thumbnail shows it like that.
_FOR_FACES = ("landmarks", "warped")
_OWN = ("key", "shard", "index", "label", "quality", "status", "sha256")

Place = tuple[str, int]


def extra_columns(wanted: Sequence[str], parts: Sequence[TableFile], decided: Decided | None) -> dict[str, pa.DataType]:
    """The further columns that a user names, with their types; those that an atlas has anyway are not among them.

    Raises:
        AtlasError: one that is not there, or that is neither text nor numbers nor true or false.
    """
    known: dict[str, pa.DataType] = dict(_types(decided.urls[0])) if decided and decided.urls else {}
    shared = set.intersection(*(set(part.columns) for part in parts)) if parts else set()
    own = _types(parts[0].url) if parts else {}
    known |= {name: kind for name, kind in own.items() if name in shared}
    present = {*schema.COLUMNS, *(schema.DECIDED if decided else ())}
    found: dict[str, pa.DataType] = {}
    for name in wanted:
        if name in present:
            continue
        kind = known.get(name)
        if kind is None or not _is_plain(kind):
            usable = ", ".join(each for each, kind in known.items() if _is_plain(kind) and each not in present)
            what = "not a column of every file" if kind is None else f"{kind}; expected text, numbers or true/false"
            raise AtlasError(f"--columns {name}: {what}. There are {usable or 'no others'}.")
        found[name] = _written(kind)
    return found


def _types(url: str) -> dict[str, pa.DataType]:
    with damage_named(url), open_read(url) as stream:
        return {field.name: field.type for field in pq.ParquetFile(stream).schema_arrow}


def _is_plain(kind: pa.DataType) -> bool:
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    types = pa.types
    is_text = types.is_string(plain) or types.is_large_string(plain) or types.is_string_view(plain)
    return bool(is_text or types.is_integer(plain) or types.is_floating(plain) or types.is_boolean(plain))


def _written(kind: pa.DataType) -> pa.DataType:
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    if pa.types.is_large_string(plain) or pa.types.is_string_view(plain):
        return pa.string()
    return pa.float32() if plain == pa.float16() else plain


def rows_of_points(
    parts: Sequence[TableFile], decided: Decided | None, rids: np.ndarray, extra: Sequence[str]
) -> Iterator[list[dict[str, Any]]]:
    """The rows of `rids` (ascending) as mappings, in order; the columns of the decisions win over the table's.

    Raises:
        AtlasError: decisions that do not go with the table. TableError: a damaged file.
    """
    for number, part in enumerate(parts):
        if np.searchsorted(rids, part.first) == np.searchsorted(rids, part.first + part.rows):
            continue
        names = [name for name in dict.fromkeys((*_OWN, *_FOR_FACES, *extra)) if name in part.columns]
        beside = _decided_batches(decided, number, [*schema.DECIDED, "label", *extra])
        first = part.first
        for batch in read_part(part, names):
            decisions = next(beside, None) if decided else None
            if decided and (decisions is None or decisions.num_rows != batch.num_rows):
                raise AtlasError(f"{decided.urls[number]}: its rows do not go with {part.url}. Filter again.")
            yield _taken(batch, decisions, rids, first)
            first += batch.num_rows


def _taken(
    batch: pa.RecordBatch, decisions: pa.RecordBatch | None, rids: np.ndarray, first: int
) -> list[dict[str, Any]]:
    low, high = np.searchsorted(rids, [first, first + batch.num_rows])
    places = pa.array(rids[low:high] - first)
    rows: list[dict[str, Any]] = batch.take(places).to_pylist()
    if decisions is not None:
        more = decisions.take(places).to_pylist()
        rows = [row | other for row, other in zip(rows, more, strict=True)]
    return rows


def _decided_batches(decided: Decided | None, number: int, wanted: Sequence[str]) -> Iterator[pa.RecordBatch]:
    if decided is None:
        return iter(())
    names = [name for name in dict.fromkeys(wanted) if name in decided.columns]
    return read_batches(decided.urls[number], names)


def duplicate_groups(parts: Sequence[TableFile], decided: Decided | None, rids: np.ndarray) -> dict[Place, int]:
    """A number for each row that points were dropped as duplicates of, by its shard and index, from 0 in order of the
    first such point."""
    groups: dict[Place, int] = {}
    names = ("duplicate_of_shard", "duplicate_of_index")
    for number, part in enumerate(parts if decided else ()):
        first = part.first
        for batch in _decided_batches(decided, number, names):
            low, high = np.searchsorted(rids, [first, first + batch.num_rows])
            chosen = batch.take(pa.array(rids[low:high] - first))
            shards, indices = (chosen.column(name).to_pylist() for name in names)
            for shard, index in zip(shards, indices, strict=True):
                if shard is not None and index is not None:
                    groups.setdefault((shard, index), len(groups))
            first += batch.num_rows
    return groups


def group_of(row: Mapping[str, Any], groups: Mapping[Place, int]) -> int | None:
    """The duplicate group of a row, None if it is in none."""
    other = row.get("duplicate_of_shard"), row.get("duplicate_of_index")
    own = row["shard"], row["index"]
    return groups.get(other if other[0] is not None else own)  # type: ignore[arg-type]
