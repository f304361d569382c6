"""Quality tables for reports: identities in embeddings, with planted findings; and what a report's page holds."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from schemas import provenance
from schemas.quality import quality_schema

IMAGES, PEOPLE = 10, 8
ROWS = IMAGES * PEOPLE


def columns_of(quality: Sequence[float], **more: Any) -> dict[str, Any]:
    """Columns of a table of scored rows, ten of each identity, all different, of shards that are gone."""
    rows = len(quality)
    return {
        "key": [f"k{row}" for row in range(rows)],
        "shard": ["gone.tar"] * rows,
        "index": range(rows),
        "label": [f"p{row // IMAGES}" for row in range(rows)],
        "quality": np.asarray(quality, np.float32),
        "status": pa.array(["scored"] * rows).dictionary_encode(),
        "message": pa.nulls(rows, pa.string()),
        "width": np.full(rows, 112, np.int32),
        "height": np.full(rows, 112, np.int32),
        "sha256": [row.to_bytes(32, "little") for row in range(1, rows + 1)],
        "bytes": np.arange(3000, 3000 + rows),
        "quantisation": pa.nulls(rows, pa.float32()),
    } | more


def write(folder: Path, columns: Mapping[str, Any], settings: Mapping[str, Any] | None = None, **schema: Any) -> Path:
    """A quality table of one file; `schema`: arguments of `quality_schema`; other columns are added as they are.

    Args:
        settings: of the scoring run, for the file's metadata.
    """
    folder.mkdir(parents=True)
    fields = quality_schema(**schema)
    table = pa.table({name: columns[name] for name in fields.names}, schema=fields)
    for name in columns.keys() - set(fields.names):
        field, values = columns[name]
        table = table.append_column(field, values)
    if settings is not None:
        metadata = {provenance.SETTINGS: json.dumps(settings).encode()}
        table = table.replace_schema_metadata(metadata)
    pq.write_table(table, folder / "part-000000.parquet")
    return folder


def data_of(report: Path) -> dict[str, Any]:
    """What the page's script works with."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', report.read_text("utf-8"), re.S)
    assert found is not None
    return dict(json.loads(found[1]))


def text_of(report: Path) -> str:
    """The page's HTML, each run of spaces as one."""
    return re.sub(r"\s+", " ", report.read_text("utf-8"))
