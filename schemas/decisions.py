"""The decisions table: one row per row of the quality table, in the same files and the same order."""

import pyarrow as pa

from schemas.columns import Column, schema_of

COLUMNS: dict[str, Column] = {
    "key": Column(pa.string(), "As in the quality table."),
    "shard": Column(pa.string(), "As in the quality table.", required=True),
    "index": Column(pa.int64(), "As in the quality table.", required=True),
    "label": Column(pa.string(), "As in the quality table; the right label where a person gave one (--review)."),
    "quality": Column(pa.float32(), "As in the quality table; higher = more useful."),
    "status": Column(pa.dictionary(pa.int32(), pa.string()), "As in the quality table.", required=True),
    "sha256": Column(pa.binary(), "As in the quality table."),
    "keep": Column(pa.bool_(), "Whether the row is part of the subset.", required=True),
    "reason": Column(
        pa.dictionary(pa.int32(), pa.string()),
        "Code of the first rule that dropped it (schemas/drops.py); null where it is kept.",
    ),
    "tier": Column(
        pa.dictionary(pa.int32(), pa.string()),
        "A (best) to E by quality; null unless scored. Also for rows that are not kept.",
    ),
    "weight": Column(pa.float32(), "Sample weight for training in [0, 1]; 0 where the row is not kept.", required=True),
    "quality_quantile": Column(
        pa.float32(), "Share of all scored rows whose quality is lower, in [0, 1); null unless scored."
    ),
    "identity_quantile": Column(
        pa.float32(), "Share of the scored rows of its identity whose quality is lower; null without one."
    ),
    "identity_images": Column(pa.int32(), "Scored rows of its identity before any rule; null without a label."),
    "centre_cosine": Column(
        pa.float32(), "Cosine to the robust centre of its own identity; null if it was not judged."
    ),
    "genuine_cosine": Column(
        pa.float32(), "Mean cosine to the other images of its identity; null if it was not judged, or is the only one."
    ),
    "recognised": Column(
        pa.bool_(), "Whether the embeddings place it surely in its own identity; null unless the policy asks for that."
    ),
    "nearest_label": Column(pa.string(), "The other identity whose centre is nearest; null if it was not looked for."),
    "nearest_cosine": Column(pa.float32(), "Cosine to that centre."),
    "label_verdict": Column(
        pa.dictionary(pa.int32(), pa.string()),
        "What the embedding says of the label (schemas/label_verdicts.py); null if it was not judged.",
    ),
    "duplicate_of": Column(
        pa.string(), "Key of the row that is kept in its place; null unless dropped as a duplicate or overlap."
    ),
    "duplicate_of_shard": Column(pa.string(), "Shard of that row."),
    "duplicate_of_index": Column(pa.int64(), "Place of that row in its shard."),
    "duplicate_similarity": Column(
        pa.float32(),
        "1 for the same bytes; else the agreement of the thumbnails, the cosine, or 1 - differing bits / 64 "
        "of the hashes, whichever found the pair.",
    ),
    "reviewed": Column(
        pa.dictionary(pa.int32(), pa.string()),
        "What a person decided (--review): `keep`, `drop`, or `label` where only the label is another one; null: "
        "nothing.",
    ),
    "condition": Column(
        pa.dictionary(pa.int32(), pa.string()),
        "The first condition of --drop-where that holds for it; null unless its reason is `drop_where`.",
    ),
}

SCHEMA = schema_of(COLUMNS)
