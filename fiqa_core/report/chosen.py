"""All that the files know about a few thousand rows, which are shown as faces."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fiqa_core.report.decided import Decided
from fiqa_core.tables.quality_files import TableFile
from fiqa_core.tables.row_batches import read_batches, read_part

# Neither is shown, and both are large.
_LEFT_OUT = {"embedding", "phash"}


def chosen_rows(parts: Sequence[TableFile], decided: Decided | None, rids: Iterable[int]) -> dict[int, dict[str, Any]]:
    """By rid, the columns of the quality table; those of the decisions win. `quality_label` is the label as it was
    scored."""
    wanted = np.unique(np.fromiter(rids, np.int64))
    found: dict[int, dict[str, Any]] = {}
    for number, part in enumerate(parts):
        here = wanted[(wanted >= part.first) & (wanted < part.first + part.rows)]
        if not len(here):
            continue
        names = [name for name in part.columns if name not in _LEFT_OUT]
        for rid, values in _taken(read_part(part, names), part.first, here):
            found[rid] = {**values, "quality_label": values.get("label")}
        if decided is not None:
            for rid, values in _taken(read_batches(decided.urls[number], decided.columns), part.first, here):
                found[rid] |= values
    return found


def rows_at(parts: Sequence[TableFile], places: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]:
    """Rids of rows by shard and index."""
    wanted = set(places)
    if not wanted:
        return {}
    indices = pa.array(sorted({index for _, index in wanted}), pa.int64())
    found: dict[tuple[str, int], int] = {}
    for part in parts:
        first = part.first
        for batch in read_part(part, ["shard", "index"]):
            matching = pc.indices_nonzero(pc.is_in(batch.column("index").cast(pa.int64()), indices))
            near = batch.take(matching)
            for row, shard, index in zip(
                matching.to_pylist(), near.column("shard").to_pylist(), near.column("index").to_pylist(), strict=True
            ):
                if (shard, index) in wanted:
                    found.setdefault((shard, index), first + row)
            first += batch.num_rows
    return found


def _taken(batches: Iterable[pa.RecordBatch], first: int, rids: np.ndarray) -> Iterable[tuple[int, dict[str, Any]]]:
    for batch in batches:
        here = rids[np.searchsorted(rids, first) : np.searchsorted(rids, first + batch.num_rows)]
        if len(here):
            yield from zip(here.tolist(), batch.take(pa.array(here - first)).to_pylist(), strict=True)
        first += batch.num_rows
