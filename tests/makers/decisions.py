"""Decisions made from a quality table by a rule given in the test, in the files that the policy engine writes."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fiqa_core.tables.quality_files import TableFile
from schemas.decisions import SCHEMA


def write_decisions(parts: Sequence[TableFile], folder: Path, keep: Callable[[dict[str, Any]], bool]) -> Path:
    """One file for each part; only scored rows are kept, and of these those that `keep` says."""
    folder.mkdir(parents=True, exist_ok=True)
    for part in parts:
        rows = pq.read_table(part.url).to_pylist()
        for row in rows:
            row["keep"] = row["status"] == "scored" and keep(row)
            row["reason"] = None if row["keep"] else "below_threshold"
            row["tier"] = "A" if row["quality"] and row["quality"] > 0.5 else "B"
            row["weight"] = 0.5 if row["keep"] else 0.0
        columns = {name: [row.get(name) for row in rows] for name in SCHEMA.names}
        pq.write_table(pa.table(columns, schema=SCHEMA), folder / f"part-{part.number:06d}.parquet")
    return folder
