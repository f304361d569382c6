"""Findings of the search for label noise and near duplicates; rows are named by `rid`, as everywhere in curation."""

import pyarrow as pa

from schemas.columns import Column, schema_of

LABEL_COLUMNS: dict[str, Column] = {
    "rid": Column(pa.int64(), "Number of the row among all rows of the quality tables.", required=True),
    "centre_cosine": Column(
        pa.float32(), "Cosine to the robust centre of its own identity, its own vote left out; null for a single image."
    ),
    "genuine_cosine": Column(
        pa.float32(), "Mean cosine to the other images of its identity that have a vote in its centre; null for none."
    ),
    "nearest_label": Column(
        pa.string(), "The other identity whose centre is nearest; null where it was not looked for."
    ),
    "nearest_cosine": Column(pa.float32(), "Cosine to that centre."),
    "label_verdict": Column(
        pa.string(), "What the embedding says of the label (schemas/label_verdicts.py).", required=True
    ),
}

LABELS = schema_of(LABEL_COLUMNS)

PAIR_COLUMNS: dict[str, Column] = {
    "a": Column(pa.int64(), "The smaller rid; always a row of the dataset itself.", required=True),
    "b": Column(pa.int64(), "The larger rid; from the dataset, or from one given as --against.", required=True),
    "similarity": Column(
        pa.float32(),
        "Cosine, agreement of the thumbnails, or 1 - differing bits / 64 of the hashes; 1 = identical.",
        required=True,
    ),
    "kind": Column(
        pa.string(), "`cosine`, `picture` (near by cosine, and the thumbnails agree) or `phash`.", required=True
    ),
    "crowd": Column(
        pa.int64(),
        "Where so many rows are near each other that not every pair is listed: the row (a or b) in the middle"
        " of the crowd that the other one belongs to. Members of one crowd count as near each other. Null for"
        " a plain pair.",
    ),
}

PAIRS = schema_of(PAIR_COLUMNS)
