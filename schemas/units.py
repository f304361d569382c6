"""Units and directions of the quality table's columns, for people and notebooks."""

UNITS: dict[str, str] = {
    "index": "records (RecordIO: bytes)",
    "quality": "none",
    "width": "pixels",
    "height": "pixels",
    "bytes": "bytes",
    "quantisation": "steps of an 8-bit sample's DCT coefficients",
    "embedding": "none (not normalised)",
}

DIRECTIONS: dict[str, str] = {
    "quality": "higher = more useful for face recognition",
    "quantisation": "lower = finer compression",
}
"""Columns that order the rows, and which way."""
