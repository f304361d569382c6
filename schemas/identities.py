"""The identities table: one row per identity of the dataset, in order of its first row."""

import pyarrow as pa

COLUMNS: dict[str, str] = {
    "label": "The identity.",
    "images": "Scored rows with this label.",
    "judged": "Those with a usable embedding.",
    "coherence": "Mean cosine of its images to its centre, each one's own vote left out; null for a single image.",
    "outliers": "Judged images below the threshold of label noise.",
    "is_split": "Whether it looks like two people under one label.",
    "split_sizes": "Images of the larger and of the smaller group; null unless split.",
    "split_cosine": "Cosine between the centres of the two groups; null unless split.",
    "split_minority": "The rids of the smaller group; null unless split.",
    "merge_with": "Another identity that looks like the same person; null if there is none.",
    "merge_cosine": "Cosine between the two centres; null if there is none.",
}

TYPES: dict[str, pa.DataType] = {
    "label": pa.string(),
    "images": pa.int64(),
    "judged": pa.int64(),
    "coherence": pa.float32(),
    "outliers": pa.int64(),
    "is_split": pa.bool_(),
    "split_sizes": pa.list_(pa.int64()),
    "split_cosine": pa.float32(),
    "split_minority": pa.list_(pa.int64()),
    "merge_with": pa.string(),
    "merge_cosine": pa.float32(),
}

_REQUIRED = {"label", "images", "judged", "outliers", "is_split"}

SCHEMA = pa.schema(
    [
        pa.field(name, kind, nullable=name not in _REQUIRED, metadata={"description": COLUMNS[name]})
        for name, kind in TYPES.items()
    ]
)
