"""The index of the dropped images that were written: one row per image, in the order of the quality table."""

import pyarrow as pa

from schemas.columns import Column, schema_of

COLUMNS: dict[str, Column] = {
    "file": Column(pa.string(), "Path of the image below `dropped/`.", required=True),
    "reason": Column(pa.string(), "Code of the rule that dropped it (schemas/drops.py).", required=True),
    "shard": Column(pa.string(), "As in the quality table.", required=True),
    "key": Column(pa.string(), "As in the quality table."),
    "index": Column(pa.int64(), "As in the quality table.", required=True),
    "label": Column(pa.string(), "As in the quality table."),
    "quality": Column(pa.float32(), "As in the quality table; higher = more useful."),
    "bytes": Column(pa.int64(), "Size of the stored image.", required=True),
    "sha256": Column(pa.binary(), "SHA-256 of the stored image: of the source as it was scored, and of this copy."),
}

SCHEMA = schema_of(COLUMNS)
