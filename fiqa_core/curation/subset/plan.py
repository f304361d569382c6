"""From decisions to tasks: who writes which output shards, from which parts of the source."""

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fiqa_core.curation.subset.folder_names import publish_shared_names
from fiqa_core.curation.subset.labels import in_order, numbers, publish_labels
from fiqa_core.curation.subset.own_files import clear_subset
from fiqa_core.curation.subset.report import PlanBrief
from fiqa_core.curation.subset.settings import (
    PLAN,
    REPORT,
    AnotherSubsetError,
    Slice,
    SubsetError,
    SubsetSettings,
    SubsetTask,
    cut,
    digest,
    place,
)
from fiqa_core.runs.layout import RUN, read_own_json
from fiqa_core.shards.formats import CONTAINERS, SAME, container_of, output_formats, same_as
from fiqa_core.shards.output import FileOutput, OutputRefusedError, SetOutput
from fiqa_core.shards.unit import ReadSettings, Unit
from fiqa_core.storage import above, exists, in_flight, join, look_into, open_read, publish_bytes, stat
from fiqa_core.tables.face_sources import read_settings_of
from fiqa_core.tables.quality_files import TableFile
from fiqa_core.tables.row_batches import checked, damage_named
from fiqa_core.wording import counted, one_line

_log = logging.getLogger(__name__)
_READ_AT_ONCE = 4
_CHUNK = 1 << 20
# Where a shard can only be read from its start: a task may begin inside one if what it has to pass over is at most
# this share of the work of the task before it.
_PASSED_OVER = 8
_RUN_IMAGES = 30_000  # a task whose sorted run is merged with the others into one set
_COLUMNS = ["keep", "key", "label"]


@dataclass(frozen=True)
class SubsetPlan:
    """The tasks of a subset, and what they are to write together.

    `settings` has the format that is written; `grouped`: the images come in order of their numbers already.
    """

    settings: SubsetSettings
    tasks: tuple[SubsetTask, ...]
    images: int
    identities: int
    unlabelled: int
    grouped: bool
    digest: str

    def brief(self) -> PlanBrief:
        """The plan without its tasks."""
        return PlanBrief(
            self.settings,
            len(self.tasks),
            self.images,
            self.identities,
            self.unlabelled,
            self.grouped,
            self.digest,
        )


class EarlierSubset(NamedTuple):
    """What of a subset lies in an output: `none`, `begun`, `complete`, or `other` (it is of other decisions or
    settings). images: in the subset that is wanted."""

    state: str
    images: int


class _Wanted(NamedTuple):
    """A subset before anything of it is written: settings with what the tables say filled in, URLs of the decisions,
    kept rows of each, images by label and without one, and a digest of all that decides what is written."""

    settings: SubsetSettings
    urls: list[str]
    slices: tuple[Slice, ...]
    labels: dict[str, int]
    unlabelled: int
    digest: str


@dataclass(frozen=True)
class _Seen:
    """What one decisions file says: kept rows, kept rows of each label, its content."""

    kept: int
    labels: dict[str | None, int]
    digest: str


def plan_subset(
    parts: Sequence[TableFile],
    decisions_folder: str,
    settings: SubsetSettings,
    output: str,
    resume: bool = False,
) -> SubsetPlan:
    """Plan a subset and write down what its workers need (`labels.csv`, `plan.json`) under `<output>/subset`.

    Args:
        parts: files of the quality table whose rows the decisions are about; the order of the output is theirs.
        decisions_folder: has `part-NNNNNN.parquet` for each part.
        resume: keep finished shards of the same subset that lie there.

    Raises:
        SubsetError: a part whose source is not known, several formats for `same`, images that the format cannot hold,
            or another subset that lies there.
    """
    settings, urls, slices, labels, unlabelled, whole = _wanted(parts, decisions_folder, settings)
    images = sum(labels.values()) + unlabelled
    _settle(output, whole, resume)
    label_digest = publish_labels(output, labels) if settings.dense else ""
    grouped = isinstance(settings.output, SetOutput) and _is_grouped(urls, labels)
    if isinstance(settings.output, FileOutput):
        publish_shared_names(output, _names(urls), settings.dense, in_order(labels) if settings.dense else [])
    tasks = tuple(
        SubsetTask(number, first, count, cut(slices, first, count), whole, label_digest)
        for number, (first, count) in enumerate(_ranges(slices, settings, grouped))
    )
    plan = SubsetPlan(settings, tasks, images, len(labels), unlabelled, grouped, whole)
    _write_down(output, plan)
    return plan


def earlier_subset(
    parts: Sequence[TableFile], decisions_folder: str, settings: SubsetSettings, output: str
) -> EarlierSubset:
    """What of this subset lies in an output; arguments as of `plan_subset`. Nothing is written.

    Raises:
        SubsetError: as `plan_subset`, but for another subset that lies there.
    """
    wanted = _wanted(parts, decisions_folder, settings)
    images = sum(wanted.labels.values()) + wanted.unlabelled
    if stat(place(output, PLAN)) is None:
        return EarlierSubset("none", images)
    if _digest_in(place(output, PLAN)) != wanted.digest:
        return EarlierSubset("other", images)
    report = place(output, REPORT)
    is_complete = stat(report) is not None and bool(read_own_json(report).get("complete"))
    return EarlierSubset("complete" if is_complete else "begun", images)


def _wanted(parts: Sequence[TableFile], decisions_folder: str, settings: SubsetSettings) -> _Wanted:
    settings, units = check_source(parts, settings)
    urls = [join(decisions_folder, f"part-{part.number:06d}.parquet") for part in parts]
    seen = list(in_flight(urls, _look_at, _READ_AT_ONCE))
    slices = tuple(Slice(u, unit, 0, s.kept) for u, unit, s in zip(urls, units, seen, strict=True) if s.kept)
    counts: Counter[str | None] = Counter()
    for one in seen:
        counts.update(one.labels)
    unlabelled = counts.pop(None, 0)
    labels = {str(label): count for label, count in counts.items()}
    settings = _with_layout(settings, labels, unlabelled)
    # Where the source lies does not count: a run that was begun goes on after the dataset was moved.
    places = [replace(part.unit, version="").identity() for part in parts if part.unit is not None]
    identity: list[Any] = [replace(settings, moved=()).to_dict(), [one.digest for one in seen], places]
    naming = settings.output.naming(settings.dense)
    identity += [naming] if naming else []
    return _Wanted(settings, urls, slices, labels, unlabelled, digest(identity))


def _digest_in(url: str) -> Any:
    """The digest of the subset that a plan describes; None for a plan that is not readable."""
    try:
        return read_own_json(url).get("digest")
    except ValueError:
        return None


def check_source(parts: Sequence[TableFile], settings: SubsetSettings) -> tuple[SubsetSettings, list[Unit]]:
    """The settings with what the tables say filled in, and the part of the dataset that each file is about.

    Raises:
        SubsetError: a part whose source is not known, several formats for `same`, a package that is missing, or a move
            that moves nothing.
    """
    units = [_unit(part, settings) for part in parts]
    for old, _ in settings.moved:
        if parts and not any(part.unit is not None and _lies_in(part.unit.url, old) for part in parts):
            known = parts[0].unit.url if parts[0].unit is not None else ""
            raise SubsetError(f"--moved {old}=...: nothing lay there. The first of the sources was {known}")
    settings = replace(settings, format=_format(settings.format, parts), read=_read_settings(parts))
    try:
        settings.output.require()
    except OutputRefusedError as error:
        raise SubsetError(str(error)) from error
    return settings, units


def _lies_in(url: str, folder: str) -> bool:
    place = look_into(url)[1]
    return place == folder or place.startswith(folder.rstrip("/") + "/")


def _look_at(url: str) -> _Seen:
    content = hashlib.sha256()
    try:
        with open_read(url) as stream:
            while chunk := stream.read(_CHUNK):
                content.update(chunk)
            stream.seek(0)
            table = pq.read_table(stream, columns=["keep", "label", "sha256"])
    except FileNotFoundError as error:
        raise SubsetError(f"{url}: no decisions for this part of the table. Decide again.") from error
    except (pa.ArrowException, KeyError) as error:
        raise SubsetError(f"{url}: not readable as decisions ({one_line(error)})") from error
    kept = table.filter(table["keep"])
    if kept["sha256"].null_count:
        unknown = counted(kept["sha256"].null_count, "kept row has", "kept rows have")
        raise SubsetError(f"{url}: {unknown} no sha256, so nothing can be verified")
    values = pc.value_counts(kept["label"]).to_pylist()
    return _Seen(kept.num_rows, {v["values"]: v["counts"] for v in values}, content.hexdigest()[:16])


def _unit(part: TableFile, settings: SubsetSettings) -> Unit:
    if part.unit is None:
        raise SubsetError(
            f"{part.url}: the place of its images is unknown: there is no plan/units.parquet beside the table. A "
            "subset is written from the output folder of fiqa score; write a manifest for a table from elsewhere."
        )
    unit = part.unit
    for old, new in settings.moved:
        if _lies_in(unit.url, old):
            place = look_into(unit.url)[1]
            unit = replace(unit, url=unit.url.removesuffix(place) + new + place.removeprefix(old))
            break
    # What the bytes are is told by their sha256, image by image: a copy with another time of change will do. Keys
    # come from the decisions.
    return replace(container_of(unit).without_keys(unit), version="")


def _format(wanted: str, parts: Sequence[TableFile]) -> str:
    found = sorted({part.unit.container for part in parts if part.unit is not None})
    if wanted != SAME:
        return wanted
    if len(found) > 1:
        raise SubsetError(f"the input is of several formats ({', '.join(found)}), so `same` is none: name one")
    same = same_as(found[0] if found else next(iter(CONTAINERS)))
    if same is None:
        raise SubsetError(
            f"the input is of the format {found[0]}, which is only read, so it cannot be written as the same. Name "
            f"another by --write: {', '.join(output_formats()[1:])}."
        )
    return same


def _read_settings(parts: Sequence[TableFile]) -> ReadSettings:
    """How the table's run read its records; runs of one table that differ are refused."""
    found: dict[str, ReadSettings] = {}
    for folder in {above(part.url.rpartition("/")[0]) for part in parts}:
        if folder is None:
            continue
        url = join(folder, RUN)
        if exists(url):
            found[url] = _read_of_run(folder)
    if len(set(found.values())) > 1:
        raise SubsetError(
            f"the runs {', '.join(sorted(found))} were told different columns (--image-field, --label-field): write a "
            "subset of each"
        )
    return next(iter(found.values()), ReadSettings())


def _read_of_run(folder: str) -> ReadSettings:
    try:
        return read_settings_of(folder)
    except ValueError as error:
        raise SubsetError(
            f"{join(folder, RUN)}: not readable as a scoring run's ({error}), so how its records were read is unknown."
        ) from error


def _with_layout(settings: SubsetSettings, labels: Mapping[str, int], unlabelled: int) -> SubsetSettings:
    """The settings with the layout that holds the images; what the format cannot hold is refused."""
    if settings.shard_size < 1:
        raise SubsetError(f"shard size {settings.shard_size}: expected a whole number of at least 1")
    images = sum(labels.values()) + unlabelled
    try:
        settings.output.refuse(labels, unlabelled, settings.dense)
        layout = settings.output.layout(settings.recordio_layout, images, len(labels))
    except OutputRefusedError as error:
        raise SubsetError(str(error)) from error
    return replace(settings, recordio_layout=layout)


def _settle(output: str, whole: str, resume: bool) -> None:
    url = place(output, PLAN)
    if stat(url) is None:
        return
    try:
        earlier = read_own_json(url)
    except ValueError as error:
        if resume:
            raise SubsetError(f"{url}: not readable ({error}). Start afresh with --overwrite.") from error
        earlier = {}
    if resume and earlier.get("digest") == whole:
        return
    if resume:
        raise AnotherSubsetError(
            f"{place(output)}: holds another subset (of other decisions, settings or source), so it cannot be resumed. "
            "Start afresh with --overwrite, or choose another --output."
        )
    clear_subset(output)


def _is_grouped(urls: Sequence[str], labels: dict[str, int]) -> bool:
    """Whether kept images come in order of their new labels already."""
    known = pa.array(in_order(labels), pa.string())
    last = -1
    for url in urls:
        for batch in _batches(url, ["keep", "label"]):
            found = numbers(batch["label"], known).to_numpy(zero_copy_only=False)
            if len(found) and (found[0] < last or (found[1:] < found[:-1]).any()):
                return False
            last = found[-1] if len(found) else last
    return True


def _names(urls: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    for url in urls:
        for batch in _batches(url, _COLUMNS):
            yield from zip(batch["key"].to_pylist(), batch["label"].to_pylist(), strict=True)


def _batches(url: str, columns: list[str]) -> Iterator[pa.RecordBatch]:
    with damage_named(url), open_read(url) as stream:
        for batch in checked(stream).iter_batches(columns=columns):
            yield batch.filter(batch["keep"])


def _ranges(slices: Sequence[Slice], settings: SubsetSettings, grouped: bool) -> Iterator[tuple[int, int]]:
    """(first image, images) of every task."""
    total = sum(piece.take for piece in slices)
    if grouped:
        yield from [(0, total)] if total else []
        return
    size = _RUN_IMAGES if isinstance(settings.output, SetOutput) else settings.shard_size
    first = begin = number = 0  # begin: place of the first image of slices[number]
    for end in [*range(size, total, size), total]:
        while number < len(slices) and begin + slices[number].take <= end:
            begin += slices[number].take
            number += 1
        inside = number < len(slices) and _is_sequential(slices[number].unit)
        if end > first and (end == total or not inside or (end - begin) * _PASSED_OVER <= end - first):
            yield first, end - first
            first = end


def _is_sequential(unit: Unit) -> bool:
    return container_of(unit).is_sequential(unit)


def _write_down(output: str, plan: SubsetPlan) -> None:
    content = {
        "digest": plan.digest,
        "images": plan.images,
        "identities": plan.identities,
        "tasks": len(plan.tasks),
        "settings": plan.settings.to_dict(),
    }
    publish_bytes(json.dumps(content, indent=1).encode(), output, place(output, PLAN))
