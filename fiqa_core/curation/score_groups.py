"""How scores fall in each group of the user's own attributes, for the summary of a scoring run."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from fiqa_core.curation.decisions.database import insert, open_database
from fiqa_core.curation.decisions.groups import NO_GROUP
from fiqa_core.tables.groups import SCHEMA, Groups, group_batches
from fiqa_core.tables.quality_files import TableFile
from fiqa_core.tables.row_batches import read_part
from schemas.reasons import SHARD_LEVEL, Status

_ROWS = pa.schema([("rid", pa.int64()), ("quality", pa.float32()), ("scored", pa.bool_())])


def score_groups(parts: Sequence[TableFile], groups: Groups, folder: Path) -> dict[str, Any]:
    """By group: records, scored ones, mean, and 0.05, 0.5 and 0.95 quantile (scores that occur) of their qualities.

    Rows that stand for the rest of a shard are not records. A record of no group counts as `(no group)`.

    Args:
        folder: a local folder for nothing else, for data that does not fit in memory.

    Raises:
        TableError: a damaged file.
    """
    with open_database(folder, rows=sum(part.rows for part in parts)) as db:
        insert(db, "scores", _ROWS, _rows(parts))
        insert(db, "given", SCHEMA, group_batches(parts, groups))
        found = db.execute(
            f"SELECT coalesce(\"group\", '{NO_GROUP}') AS name, count(*), count(*) FILTER (scored), "
            "avg(quality::DOUBLE ORDER BY rid), quantile_disc(quality, [0.05, 0.5, 0.95]) "
            "FROM scores JOIN given USING (rid) GROUP BY name ORDER BY name"
        ).fetchall()
    return {
        "by": groups.name,
        "groups": {
            name: {
                "records": records,
                "scored": scored,
                "quality_mean": mean if mean is None else round(mean, 9),
                "quality_quantiles": None if mean is None else dict(zip(("0.05", "0.5", "0.95"), some, strict=True)),
            }
            for name, records, scored, mean, some in found
        },
    }


def _rows(parts: Sequence[TableFile]) -> Iterator[pa.RecordBatch]:
    lost = pa.array([str(status) for status in SHARD_LEVEL])
    for part in parts:
        first = part.first
        for batch in read_part(part, ["quality", "status"]):
            status = batch.column("status").cast(pa.string())
            scored = pc.fill_null(pc.equal(status, Status.SCORED.value), False)
            quality = pc.if_else(scored, batch.column("quality").cast(pa.float32()), None)
            rids = pa.array(range(first, first + batch.num_rows), pa.int64())
            rows = pa.RecordBatch.from_arrays([rids, quality, scored], schema=_ROWS)
            yield rows.filter(pc.invert(pc.is_in(status, lost)))
            first += batch.num_rows
