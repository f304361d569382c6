"""The quality table: one row per input record, whatever happened to it."""

import pyarrow as pa

EMBEDDING_TYPES: dict[str, pa.DataType] = {"float16": pa.float16(), "float32": pa.float32()}

THUMB_BYTES = 1024

COLUMNS: dict[str, str] = {
    "key": "Name of the record inside its dataset; null in a row that stands for the rest of a shard.",
    "shard": "URI of the shard as it was given on the command line (for a folder: the folder).",
    "index": "Place of the record in its shard, from 0.",
    "label": "Identity as the container stores it, as text; null if it stores none.",
    "quality": "Predicted usefulness for face recognition, no unit; higher = more useful. Null unless scored, and for "
    "a network without quality head.",
    "status": "`scored`: the network gave its output; or the reason code that says why not (schemas/reasons.py).",
    "message": "What was found, for people; null where there is nothing to say.",
    "width": "Width of the stored image in pixels, before any resize or rotation; null if not known.",
    "height": "Height of the stored image in pixels, before any resize or rotation; null if not known.",
    "sha256": "SHA-256 of the stored bytes (32 bytes); null if they could not be read.",
    "bytes": "Size of the stored image in bytes; null if it could not be read.",
    "quantisation": "Mean quantisation step of a JPEG's luminance: smaller = finer compression. 0 for PNG, BMP and "
    "other files coded without loss; null for the rest (lossy WebP, GIF), where no header says it, and unless decoded.",
    "phash": "64-bit perceptual hash of the image as the network sees it (fiqa_core/images/phash.py), as 16 "
    "hexadecimal digits; null unless decoded.",
    "thumb": "Grey levels of the same image, 32 x 32 of a byte each, row by row (fiqa_core/images/thumbnail.py); null "
    "unless decoded.",
    "embedding": "Face recognition embedding as the network gives it (not normalised); null unless scored.",
}


def quality_schema(
    embedding_type: str = "none", embedding_dim: int = 0, phash: bool = False, storage: bool = True
) -> pa.Schema:
    """Arrow schema of the quality table.

    Args:
        embedding_type: `none` (no `embedding` column), `float16` or `float32`.
        embedding_dim: numbers in one embedding; used unless `embedding_type` is `none`.
        phash: whether there are the columns `phash` and `thumb`.
        storage: whether there are `bytes` and `quantisation`; tables before version 3 have neither.

    Digests and thumbnails are plain `binary`, and a hash is text: Hugging Face datasets cannot open fixed-size binary,
    and a plain `pandas.read_parquet` turns whole numbers with gaps into floats, which round a 64-bit number.
    """
    types: dict[str, pa.DataType] = {
        "key": pa.string(),
        "shard": pa.string(),
        "index": pa.int64(),
        "label": pa.string(),
        "quality": pa.float32(),
        "status": pa.dictionary(pa.int32(), pa.string()),
        "message": pa.string(),
        "width": pa.int32(),
        "height": pa.int32(),
        "sha256": pa.binary(),
    }
    if storage:
        types["bytes"] = pa.int64()
        types["quantisation"] = pa.float32()
    if phash:
        types["phash"] = pa.string()
        types["thumb"] = pa.binary()
    if embedding_type != "none":
        types["embedding"] = pa.list_(EMBEDDING_TYPES[embedding_type], embedding_dim)
    required = {"shard", "index", "status"}
    return pa.schema(
        [
            pa.field(name, kind, nullable=name not in required, metadata={"description": COLUMNS[name]})
            for name, kind in types.items()
        ]
    )
