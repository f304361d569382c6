"""The decisions table: one row per row of the quality table, in the same files and the same order."""

import pyarrow as pa

COLUMNS: dict[str, str] = {
    "key": "As in the quality table.",
    "shard": "As in the quality table.",
    "index": "As in the quality table.",
    "label": "As in the quality table.",
    "quality": "As in the quality table; higher = more useful.",
    "status": "As in the quality table.",
    "sha256": "As in the quality table.",
    "keep": "Whether the row is part of the subset.",
    "reason": "Code of the first rule that dropped it (schemas/drops.py); null where it is kept.",
    "tier": "A (best) to E by quality; null unless scored. Also for rows that are not kept.",
    "weight": "Sample weight for training in [0, 1]; 0 where the row is not kept.",
    "quality_quantile": "Share of all scored rows whose quality is lower, in [0, 1); null unless scored.",
    "identity_quantile": "Share of the scored rows of its identity whose quality is lower; null without one.",
    "identity_images": "Scored rows of its identity before any rule; null without a label.",
    "centre_cosine": "Cosine to the robust centre of its own identity; null if it was not judged.",
    "genuine_cosine": "Mean cosine to the other images of its identity; null if it was not judged, or is the only one.",
    "recognised": "Whether the embeddings place it surely in its own identity; null unless the policy asks for that.",
    "nearest_label": "The other identity whose centre is nearest; null if it was not looked for.",
    "nearest_cosine": "Cosine to that centre.",
    "label_verdict": "What the embedding says of the label (schemas/label_verdicts.py); null if it was not judged.",
    "duplicate_of": "Key of the row that is kept in its place; null unless dropped as a duplicate or overlap.",
    "duplicate_of_shard": "Shard of that row.",
    "duplicate_of_index": "Place of that row in its shard.",
    "duplicate_similarity": "1 for the same bytes; else the agreement of the thumbnails, the cosine, or 1 - differing "
    "bits / 64 of the hashes, whichever found the pair.",
}

TYPES: dict[str, pa.DataType] = {
    "key": pa.string(),
    "shard": pa.string(),
    "index": pa.int64(),
    "label": pa.string(),
    "quality": pa.float32(),
    "status": pa.dictionary(pa.int32(), pa.string()),
    "sha256": pa.binary(),
    "keep": pa.bool_(),
    "reason": pa.dictionary(pa.int32(), pa.string()),
    "tier": pa.dictionary(pa.int32(), pa.string()),
    "weight": pa.float32(),
    "quality_quantile": pa.float32(),
    "identity_quantile": pa.float32(),
    "identity_images": pa.int32(),
    "centre_cosine": pa.float32(),
    "genuine_cosine": pa.float32(),
    "recognised": pa.bool_(),
    "nearest_label": pa.string(),
    "nearest_cosine": pa.float32(),
    "label_verdict": pa.dictionary(pa.int32(), pa.string()),
    "duplicate_of": pa.string(),
    "duplicate_of_shard": pa.string(),
    "duplicate_of_index": pa.int64(),
    "duplicate_similarity": pa.float32(),
}

SCHEMA = pa.schema(
    [
        pa.field(
            name,
            kind,
            nullable=name not in {"shard", "index", "status", "keep", "weight"},
            metadata={"description": COLUMNS[name]},
        )
        for name, kind in TYPES.items()
    ]
)
