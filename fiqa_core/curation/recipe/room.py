"""Room on the disk for the images that are written."""

import shutil
from pathlib import Path

from fiqa_core.curation.recipe.further_rules import Kept
from fiqa_core.storage import absolute, is_local

# Beside its bytes: headers and padding of a tar with a label beside each image, a row of the index.
_BESIDE = 2048


def needed_bytes(kept: Kept, dropped_images: int, subset: bool, dropped: bool) -> int | None:
    """About how many bytes the images take; None where the table does not say how large they are."""
    total = 0
    for wanted, size, images in ((subset, kept.bytes, kept.images), (dropped, kept.dropped_bytes, dropped_images)):
        if not wanted or not images:
            continue
        if size is None:
            return None
        total += size + _BESIDE * images
    return total


def free_bytes(output: str) -> int | None:
    """Free bytes where an output lies; None on a store."""
    if not is_local(output):
        return None
    folder = Path(absolute(output))
    there = next(place for place in (folder, *folder.parents) if place.exists())
    return shutil.disk_usage(there).free
