"""Rows of another dataset (`--against`) that own rows overlap with.

Only their places are known; they are shown if the image is still there.
"""

from collections.abc import Mapping
from typing import Any

from schemas.drops import Drop

OVERLAPS = (Drop.OVERLAP_EXACT, Drop.OVERLAP_NEAR)
_STATUS = "in the other dataset"


def rows_elsewhere(
    rows: Mapping[int, Mapping[str, Any]],
) -> tuple[dict[int, dict[str, Any]], dict[tuple[str, int], int]]:
    """The rows of other datasets that these rows overlap with, by numbers below 0; and these by shard and index.

    Of an exact overlap the SHA-256 is known, so that a file that has changed since is not shown.
    """
    found: dict[int, dict[str, Any]] = {}
    places: dict[tuple[str, int], int] = {}
    for row in rows.values():
        if row.get("reason") not in OVERLAPS or row.get("duplicate_of_shard") is None:
            continue
        place = row["duplicate_of_shard"], row["duplicate_of_index"]
        if place in places:
            continue
        number = places[place] = -1 - len(places)
        found[number] = {
            "key": row.get("duplicate_of"),
            "shard": place[0],
            "index": place[1],
            "status": _STATUS,
            "elsewhere": True,
            "sha256": row.get("sha256") if row["reason"] == Drop.OVERLAP_EXACT else None,
        }
    return found, places
