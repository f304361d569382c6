"""From decisions to tasks: which dropped images are written by whom."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from fiqa_core.curation.dropped.names import publish_repeated, stem_of
from fiqa_core.curation.dropped.own_files import clear_dropped
from fiqa_core.curation.dropped.rows import dropped_rows
from fiqa_core.curation.dropped.settings import PLAN, DroppedTask, index_place
from fiqa_core.curation.subset.plan import check_source
from fiqa_core.curation.subset.settings import AnotherSubsetError, SubsetSettings, digest
from fiqa_core.runs.layout import read_own_json
from fiqa_core.storage import in_flight, join, publish_bytes, stat
from fiqa_core.tables.quality_files import TableFile

_READ_AT_ONCE = 4
_COLUMNS = ("reason", "label", "key", "index", "sha256")


@dataclass(frozen=True)
class DroppedPlan:
    """The tasks, how many images they write, and a digest of all that decides what is written."""

    tasks: tuple[DroppedTask, ...]
    images: int
    digest: str


def check_dropped_source(parts: Sequence[TableFile], moved: Sequence[tuple[str, str]]) -> None:
    """Refuse tables whose images cannot be found, before anything is decided.

    Raises:
        SubsetError: it says which and why.
    """
    check_source(parts, SubsetSettings("folder", moved=tuple(moved)))


def plan_dropped(
    parts: Sequence[TableFile],
    decisions_folder: str,
    moved: Sequence[tuple[str, str]],
    output: str,
    resume: bool,
) -> DroppedPlan:
    """Plan the writing of dropped images, and write down what workers need.

    Args:
        parts: files of the quality table. decisions_folder: has `part-NNNNNN.parquet` for each.
        moved: (old, new) beginnings of the source's URLs. resume: keep what an earlier run of the same plan finished.

    Raises:
        SubsetError: a part whose source is not known, or images of another plan that lie there.
    """
    settings, units = check_source(parts, SubsetSettings("folder", moved=tuple(moved)))
    urls = [join(decisions_folder, f"part-{part.number:06d}.parquet") for part in parts]
    seen = list(in_flight(urls, _look_at, _READ_AT_ONCE))
    places = [replace(part.unit, version="").identity() for part in parts if part.unit is not None]
    whole = digest([[each for _, each in seen], places])
    _settle(output, whole, resume)
    publish_repeated(output, _stems(urls))
    images = sum(rows for rows, _ in seen)
    tasks = tuple(
        DroppedTask(part.number, url, unit, rows, settings.read, whole)
        for part, url, unit, (rows, _) in zip(parts, urls, units, seen, strict=True)
        if rows
    )
    publish_bytes(json.dumps({"digest": whole, "images": images}).encode(), output, index_place(output, PLAN))
    return DroppedPlan(tasks, images, whole)


def _look_at(url: str) -> tuple[int, str]:
    """Dropped rows with an image, and a digest of what names and finds them."""
    content, rows = hashlib.sha256(), 0
    for batch in dropped_rows(url, _COLUMNS):
        rows += batch.num_rows
        for row in zip(*(batch[name].to_pylist() for name in _COLUMNS), strict=True):
            content.update(repr(row).encode("utf-8", "surrogatepass"))
    return rows, content.hexdigest()[:16]


def _stems(urls: Sequence[str]) -> Iterator[str]:
    for url in urls:
        for batch in dropped_rows(url, ("reason", "label", "key")):
            yield from map(stem_of, *(batch[name].to_pylist() for name in ("reason", "label", "key")))


def _settle(output: str, whole: str, resume: bool) -> None:
    url = index_place(output, PLAN)
    if stat(url) is None:
        return
    try:
        earlier = read_own_json(url).get("digest")
    except ValueError:
        earlier = None
    if resume and earlier == whole:
        return
    if resume:
        raise AnotherSubsetError(
            f"{url}: the dropped images there are those of other decisions or of another source, so they cannot be "
            "resumed. Start afresh with --overwrite, or choose another --output."
        )
    clear_dropped(output)
