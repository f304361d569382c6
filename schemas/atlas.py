"""The atlas: points of a map of the embeddings, one row a point, with a small picture of each face."""

import pyarrow as pa

from schemas.columns import Column

THUMBNAIL = pa.struct([("bytes", pa.binary()), ("path", pa.string())])

# Plain text and numbers, no dictionaries: each program that opens the file reads them alike.
COLUMNS: dict[str, Column] = {
    "x": Column(pa.float32(), "Coordinate in the map; near points are alike, the axes have no meaning.", required=True),
    "y": Column(pa.float32(), "The other coordinate.", required=True),
    "thumbnail": Column(
        THUMBNAIL, "The face as it was scored, made smaller, as JPEG; null where its image could not be read."
    ),
    "thumbnail_problem": Column(pa.string(), "Why there is no thumbnail; null where there is one."),
    "key": Column(pa.string(), "As in the quality table."),
    "shard": Column(pa.string(), "As in the quality table.", required=True),
    "index": Column(pa.int64(), "As in the quality table.", required=True),
    "sha256": Column(pa.string(), "SHA-256 of the stored bytes, 64 hexadecimal digits; null if not known."),
    "label": Column(pa.string(), "As in the quality table; the right label where a person gave one (--decisions)."),
    "quality": Column(pa.float32(), "As in the quality table; higher = more useful. Null without a finite one."),
    "status": Column(pa.string(), "As in the quality table.", required=True),
}

# With --decisions.
DECIDED: dict[str, Column] = {
    "keep": Column(pa.bool_(), "Whether the row is part of the subset."),
    "reason": Column(pa.string(), "Code of the rule that dropped it; null where it is kept."),
    "tier": Column(pa.string(), "A (best) to E by quality."),
    "label_verdict": Column(pa.string(), "What the embedding says of the label; null if it was not judged."),
    "nearest_label": Column(pa.string(), "The other identity whose centre is nearest; null if it was not looked for."),
    "duplicate_of": Column(
        pa.string(), "Key of the row that is kept in its place; null unless dropped as a duplicate."
    ),
    "duplicate_of_shard": Column(pa.string(), "Shard of that row."),
    "duplicate_of_index": Column(pa.int64(), "Place of that row in its shard."),
    "duplicate_similarity": Column(pa.float32(), "How alike the two are (docs/curation.md)."),
    "duplicate_group": Column(
        pa.int64(),
        "Number of a group of duplicates: the points that were dropped for one row, and that row's own; null for none.",
    ),
    "reviewed": Column(pa.string(), "What a person decided (--review); null: nothing."),
}
