"""Units and directions of the quality table's columns, for people and notebooks."""

UNITS: dict[str, str] = {
    "index": "records (RecordIO: bytes)",
    "quality": "none",
    "width": "pixels",
    "height": "pixels",
    "embedding": "none (not normalised)",
}

DIRECTIONS: dict[str, str] = {"quality": "higher = more useful for face recognition"}
"""Columns that order the rows, and which way."""
