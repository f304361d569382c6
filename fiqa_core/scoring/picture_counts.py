"""How many pictures have the size of an aligned crop, and how many were warped: counts that can be added up."""

from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from fiqa_core.images.resize import NETWORK_SIDE


@dataclass(frozen=True)
class PictureCounts:
    """Rows of a table by what their pictures are.

    Attributes:
        sized: those whose size is known. other_size: those of them that are not 112 x 112 pixels.
        warped, as_is: with `--align`, those that were warped, and those that are aligned crops already.
    """

    sized: int = 0
    other_size: int = 0
    warped: int = 0
    as_is: int = 0


def count_pictures(table: pa.Table) -> PictureCounts:
    """Counts of rows of the quality table; columns that it does not have count nothing."""
    names = set(table.column_names)
    sized = other = warped = as_is = 0
    if {"width", "height"} <= names:
        square = pc.and_(pc.equal(table["width"], NETWORK_SIDE), pc.equal(table["height"], NETWORK_SIDE))
        sized = table.num_rows - square.null_count
        other = sized - (pc.sum(square).as_py() or 0)
    if "warped" in names:
        known = table.num_rows - table["warped"].null_count
        warped = pc.sum(table["warped"]).as_py() or 0
        as_is = known - warped
    return PictureCounts(sized, other, warped, as_is)


def add_pictures(a: PictureCounts, b: PictureCounts) -> PictureCounts:
    """Both together."""
    return PictureCounts(a.sized + b.sized, a.other_size + b.other_size, a.warped + b.warped, a.as_is + b.as_is)


def picture_report(counts: PictureCounts) -> dict[str, Any]:
    """The numbers for `summary.json`."""
    share = round(counts.other_size / counts.sized, 4) if counts.sized else None
    found = {"sizes_known": counts.sized, "not_112x112": counts.other_size, "share_not_112x112": share}
    aligned = {"warped": counts.warped, "aligned_already": counts.as_is}
    return found | (aligned if counts.warped or counts.as_is else {})
