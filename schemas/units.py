"""Units and directions of the quality table's columns, for people and notebooks."""

UNITS: dict[str, str] = {
    "index": "records (RecordIO: bytes)",
    "quality": "none",
    "width": "pixels",
    "height": "pixels",
    "bytes": "bytes",
    "quantisation": "steps of an 8-bit sample's DCT coefficients",
    "percentile": "percent",
    "predicted_fnmr": "share of mated pairs",
    "embedding": "none (not normalised)",
}

DIRECTIONS: dict[str, str] = {
    "quality": "higher = more useful for face recognition",
    "quantisation": "lower = finer compression",
    "percentile": "higher = more useful for face recognition",
    "predicted_fnmr": "lower = more useful for face recognition",
}
"""Columns that order the rows, and which way."""
