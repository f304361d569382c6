"""What the search for label noise and near duplicates writes; rows are named by `rid`, as all curation does."""

import pyarrow as pa

LABEL_COLUMNS: dict[str, str] = {
    "rid": "Number of the row among all rows of the quality tables.",
    "centre_cosine": "Cosine to the robust centre of its own identity, its own vote left out; null for a single image.",
    "genuine_cosine": "Mean cosine to the other images of its identity that have a vote in its centre; null for none.",
    "nearest_label": "The other identity whose centre is nearest; null where it was not looked for.",
    "nearest_cosine": "Cosine to that centre.",
    "label_verdict": "What the embedding says of the label (schemas/label_verdicts.py).",
}

LABELS = pa.schema(
    [
        pa.field("rid", pa.int64(), nullable=False, metadata={"description": LABEL_COLUMNS["rid"]}),
        pa.field("centre_cosine", pa.float32(), metadata={"description": LABEL_COLUMNS["centre_cosine"]}),
        pa.field("genuine_cosine", pa.float32(), metadata={"description": LABEL_COLUMNS["genuine_cosine"]}),
        pa.field("nearest_label", pa.string(), metadata={"description": LABEL_COLUMNS["nearest_label"]}),
        pa.field("nearest_cosine", pa.float32(), metadata={"description": LABEL_COLUMNS["nearest_cosine"]}),
        pa.field(
            "label_verdict", pa.string(), nullable=False, metadata={"description": LABEL_COLUMNS["label_verdict"]}
        ),
    ]
)

PAIR_COLUMNS: dict[str, str] = {
    "a": "The smaller rid; always a row of the dataset itself.",
    "b": "The larger rid; from the dataset, or from one given as --against.",
    "similarity": "Cosine, agreement of the thumbnails, or 1 - differing bits / 64 of the hashes; 1 = identical.",
    "kind": "`cosine`, `picture` (near by cosine, and the thumbnails agree) or `phash`.",
    "crowd": "Where so many rows are near each other that not every pair is listed: the row (a or b) in the middle of "
    "the crowd that the other one belongs to. Members of one crowd count as near each other. Null for a plain pair.",
}

PAIRS = pa.schema(
    [
        pa.field("a", pa.int64(), nullable=False, metadata={"description": PAIR_COLUMNS["a"]}),
        pa.field("b", pa.int64(), nullable=False, metadata={"description": PAIR_COLUMNS["b"]}),
        pa.field("similarity", pa.float32(), nullable=False, metadata={"description": PAIR_COLUMNS["similarity"]}),
        pa.field("kind", pa.string(), nullable=False, metadata={"description": PAIR_COLUMNS["kind"]}),
        pa.field("crowd", pa.int64(), metadata={"description": PAIR_COLUMNS["crowd"]}),
    ]
)
