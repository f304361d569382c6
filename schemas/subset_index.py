"""The index of a subset: one row per image, in the order of the output."""

import pyarrow as pa

from schemas.columns import Column, schema_of

COLUMNS: dict[str, Column] = {
    "out_shard": Column(
        pa.string(), "File of the subset that holds the image, below `subset/` (for a folder of images: the folder)."
    ),
    "out_key": Column(
        pa.string(),
        "Key under which readers of that format find it (folder: path below it; RecordIO: key of the .idx).",
    ),
    "out_index": Column(pa.int64(), "Place among the images of its shard, from 0 (folder: of this index file)."),
    "shard": Column(pa.string(), "As in the quality table."),
    "key": Column(pa.string(), "As in the quality table."),
    "index": Column(pa.int64(), "As in the quality table."),
    "label": Column(pa.string(), "As in the quality table."),
    "new_label": Column(pa.int32(), "Dense label from 0; null where labels are kept as they are, or there is none."),
    "quality": Column(pa.float32(), "As in the quality table; higher = more useful."),
    "tier": Column(pa.string(), "A (best) to E by quality."),
    "weight": Column(pa.float32(), "Sample weight for training in [0, 1]."),
    "bytes": Column(pa.int64(), "Size of the stored image."),
    "sha256": Column(pa.binary(), "SHA-256 of the stored image: of the source as it was scored, and of this copy."),
}

SCHEMA = schema_of(COLUMNS)
