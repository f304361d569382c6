"""The quality table: one row per input record, whatever happened to it."""

import pyarrow as pa

from schemas.component_measures import COMPONENTS, LANDMARK_COMPONENTS, POSE, ComponentColumn

EMBEDDING_TYPES: dict[str, pa.DataType] = {"float16": pa.float16(), "float32": pa.float32()}

THUMB_BYTES = 1024

CALIBRATION_TYPES: dict[str, pa.DataType] = {"percentile": pa.float32(), "predicted_fnmr": pa.float32()}

# Lists are of no fixed size: Arrow's readers refuse null fixed-size lists in Parquet.
ALIGNMENT_TYPES: dict[str, pa.DataType] = {
    "faces": pa.int32(),
    "face_score": pa.float32(),
    "face_box": pa.list_(pa.float32()),
    "landmarks": pa.list_(pa.float32()),
    "eye_distance": pa.float32(),
    **dict.fromkeys(POSE, pa.float32()),
    "warped": pa.bool_(),
}

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
    "percentile": "Percentile of the quality in the set of the calibration (`--calibration`), 0..100; null unless "
    "scored.",
    "predicted_fnmr": "Share of mated pairs with an image of this quality that the calibration's recogniser refuses at "
    "its false match rate, 0..1, measured on its set; null unless scored.",
    "phash": "64-bit perceptual hash of the image as the network sees it (fiqa_core/images/phash.py), as 16 "
    "hexadecimal digits; null unless decoded.",
    "thumb": "Grey levels of the same image, 32 x 32 of a byte each, row by row (fiqa_core/images/thumbnail.py); null "
    "unless decoded.",
    "faces": "Faces found in the picture (`--align`); null where there was none, or no telling which is meant.",
    "face_score": "The detector's score of the face, 0..1; higher = surer. Null without a face, as all that follow.",
    "face_box": "The face: left, top, width, height in pixels of the upright picture; it may reach out of it.",
    "landmarks": "x, y of the eyes, nose tip and mouth corners, left before right as the viewer sees them; ten "
    "numbers, in pixels of the upright picture.",
    "eye_distance": "Distance between the eyes in pixels of the upright picture.",
    **{name: column.description for name, column in POSE.items()},
    "warped": "Whether the face was warped to the 112x112 template; false: the picture is an aligned crop already and "
    "was used as it is.",
    "crops": "Keys of the aligned faces in the tar of the same name in `crops/` (fiqa align); null for none. The "
    "columns before are of the first.",
    "embedding": "Face recognition embedding as the network gives it (not normalised); null unless scored.",
}


def quality_schema(
    embedding_type: str = "none",
    embedding_dim: int = 0,
    phash: bool = False,
    storage: bool = True,
    alignment: bool = False,
    crops: bool = False,
    calibrated: bool = False,
    measures: bool = False,
) -> pa.Schema:
    """Arrow schema of the quality table.

    Args:
        embedding_type: `none` (no `embedding` column), `float16` or `float32`.
        embedding_dim: numbers in one embedding; used unless `embedding_type` is `none`.
        phash: whether there are the columns `phash` and `thumb`.
        storage: whether there are `bytes` and `quantisation`; tables before version 3 have neither.
        alignment: whether there are the columns of the face that was found, `faces` to `warped`.
        crops: whether there is the column `crops`.
        calibrated: whether there are `percentile` and `predicted_fnmr`.
        measures: whether there are the columns of `component_measures`, with unit and direction in their metadata;
            with `alignment` also those of landmarks.

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
    if calibrated:
        types |= CALIBRATION_TYPES
    if measures:
        types |= dict.fromkeys(COMPONENTS, pa.float32())
        types |= dict.fromkeys(LANDMARK_COMPONENTS if alignment else (), pa.float32())
    if phash:
        types["phash"] = pa.string()
        types["thumb"] = pa.binary()
    if alignment:
        types |= ALIGNMENT_TYPES
    if crops:
        types["crops"] = pa.list_(pa.string())
    if embedding_type != "none":
        types["embedding"] = pa.list_(EMBEDDING_TYPES[embedding_type], embedding_dim)
    required = {"shard", "index", "status"}
    return pa.schema(
        [
            pa.field(name, kind, nullable=name not in required, metadata=column_metadata(name))
            for name, kind in types.items()
        ]
    )


MEASURES: dict[str, ComponentColumn] = COMPONENTS | LANDMARK_COMPONENTS | POSE
"""Columns whose unit and direction are in the table's metadata."""


def column_metadata(name: str) -> dict[str, str]:
    """Description of a column; unit and direction too, of those that `MEASURES` has."""
    if name not in MEASURES:
        return {"description": COLUMNS[name]}
    component = MEASURES[name]
    direction = component.direction or "neither end is better"
    return {"description": component.description, "unit": component.unit, "direction": direction}
