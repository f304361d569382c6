"""The index of a subset: one row an image, in the order of the output."""

import pyarrow as pa

COLUMNS: dict[str, str] = {
    "out_shard": "File of the subset that holds the image, below `subset/` (for a folder of images: the folder).",
    "out_key": "Key under which readers of that format find it (folder: path below it; RecordIO: key of the .idx).",
    "out_index": "Place among the images of its shard, from 0 (folder: of this index file).",
    "shard": "As in the quality table.",
    "key": "As in the quality table.",
    "index": "As in the quality table.",
    "label": "As in the quality table.",
    "new_label": "Dense label from 0; null where labels are kept as they are, or there is none.",
    "quality": "As in the quality table; higher = more useful.",
    "tier": "A (best) to E by quality.",
    "weight": "Sample weight for training in [0, 1].",
    "bytes": "Size of the stored image.",
    "sha256": "SHA-256 of the stored image: of the source as it was scored, and of this copy.",
}

TYPES: dict[str, pa.DataType] = {
    "out_shard": pa.string(),
    "out_key": pa.string(),
    "out_index": pa.int64(),
    "shard": pa.string(),
    "key": pa.string(),
    "index": pa.int64(),
    "label": pa.string(),
    "new_label": pa.int32(),
    "quality": pa.float32(),
    "tier": pa.string(),
    "weight": pa.float32(),
    "bytes": pa.int64(),
    "sha256": pa.binary(),
}

SCHEMA = pa.schema([pa.field(name, kind, metadata={"description": COLUMNS[name]}) for name, kind in TYPES.items()])
