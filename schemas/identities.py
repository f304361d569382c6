"""The identities table: one row per identity of the dataset, in order of its first row."""

import pyarrow as pa

from schemas.columns import Column, schema_of

COLUMNS: dict[str, Column] = {
    "label": Column(pa.string(), "The identity.", required=True),
    "images": Column(pa.int64(), "Scored rows with this label.", required=True),
    "judged": Column(pa.int64(), "Those with a usable embedding.", required=True),
    "coherence": Column(
        pa.float32(), "Mean cosine of its images to its centre, each one's own vote left out; null for a single image."
    ),
    "outliers": Column(pa.int64(), "Judged images below the threshold of label noise.", required=True),
    "is_split": Column(pa.bool_(), "Whether it looks like two people under one label.", required=True),
    "split_sizes": Column(pa.list_(pa.int64()), "Images of the larger and of the smaller group; null unless split."),
    "split_cosine": Column(pa.float32(), "Cosine between the centres of the two groups; null unless split."),
    "split_minority": Column(pa.list_(pa.int64()), "The rids of the smaller group; null unless split."),
    "merge_with": Column(pa.string(), "Another identity that looks like the same person; null if there is none."),
    "merge_cosine": Column(pa.float32(), "Cosine between the two centres; null if there is none."),
}

SCHEMA = schema_of(COLUMNS)
