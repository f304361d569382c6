"""Write the dropped images of one decisions file: byte for byte, each verified, none seen half-written."""

import hashlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fiqa_core.curation.dropped.names import RepeatedNames, repeated_names, stem_of
from fiqa_core.curation.dropped.own_files import forget_names, note_names
from fiqa_core.curation.dropped.rows import dropped_rows
from fiqa_core.curation.dropped.settings import DROPPED, DroppedTask, index_name, index_place
from fiqa_core.curation.dropped.summary import DroppedSummary, of_task
from fiqa_core.curation.subset.folder import put_in_place
from fiqa_core.curation.subset.settings import SubsetError
from fiqa_core.scoring.progress import Heartbeat
from fiqa_core.shards.container import picked
from fiqa_core.shards.formats import container_of
from fiqa_core.shards.names import printable
from fiqa_core.shards.output_names import image_suffix
from fiqa_core.shards.unit import Record
from fiqa_core.storage import StorageError, is_local, join, open_read, publish, stat, temporary_for
from fiqa_core.storage.attempts import with_attempts
from fiqa_core.wording import counted
from schemas.dropped_index import SCHEMA
from schemas.reasons import Status

_log = logging.getLogger(__name__)
_BATCH_BYTES, _BATCH_IMAGES = 16 << 20, 2000
_NAMED = 5
_PLAN, _NOT_STORED = b"plan", b"not_stored"
_COLUMNS = ("reason", "shard", "key", "index", "label", "quality", "status", "sha256")
# A store's tar in which more than this share of the rows is wanted is read through, instead of here and there.
_DENSE = 0.02

Row = Mapping[str, Any]


def write_part(task: DroppedTask, output: str, sleep: Callable[[float], None] = time.sleep) -> DroppedSummary:
    """Write the images of a task that do not lie there yet.

    A disk that fails is tried again. What fails for good is returned as a failure with its reason: images that are gone
    or changed cost only themselves.
    """
    try:
        return with_attempts(
            lambda: _write(task, output),
            f"dropped images {task.number}",
            lambda e: isinstance(e, FileNotFoundError),
            sleep,
        )
    except (StorageError, SubsetError) as error:
        reason = str(error)
    except FileNotFoundError as error:
        gone = getattr(error, "filename", None) or error
        reason = f"{gone}: not there any more. If the dataset was moved, say so by --moved OLD=NEW"
    except OSError as error:
        reason = f"{type(error).__name__}: {error}"
    _log.error("dropped images of %s: %s", task.decisions, reason)
    return of_task(DroppedSummary(), task.number, (reason,))


def _write(task: DroppedTask, output: str) -> DroppedSummary:
    earlier = _finished(task, output)
    if earlier is not None:
        return earlier
    names = repeated_names(output, task.plan)
    heartbeat = Heartbeat(output)
    counts: Counter[str] = Counter()
    images = size = not_stored = number = 0
    problems: list[str] = []
    with temporary_for(output) as path:
        with pq.ParquetWriter(path, SCHEMA, compression="zstd") as writer:
            for batch in _batches(_found(task), problems):
                kept = [(row, data) for row, data in batch if data is not None]
                not_stored += len(batch) - len(kept)
                paths = [_path(row, data, names, task.number) for row, data in kept]
                note_names(output, task.number, number, paths)
                put_in_place([data for _, data in kept], paths, output, DROPPED)
                writer.write_table(_index(kept, paths))
                heartbeat.add(len(kept), 0, 0)
                counts.update(row["reason"] for row, _ in kept)
                images, number = images + len(kept), number + 1
                size += sum(len(data) for _, data in kept)
            writer.add_key_value_metadata({_PLAN: task.plan.encode(), _NOT_STORED: str(not_stored).encode()})
        if not problems:
            publish(path, index_place(output, index_name(task.number)))
            forget_names(output, task.number)
    summary = DroppedSummary(images, size, tuple(sorted(counts.items())), images, not_stored)
    return of_task(summary, task.number, _told(problems))


def _told(problems: list[str]) -> tuple[str, ...]:
    more = len(problems) - _NAMED
    return (*problems[:_NAMED], *([f"... and {counted(more, 'more image')}"] if more > 0 else []))


def _finished(task: DroppedTask, output: str) -> DroppedSummary | None:
    """What an earlier run wrote of this task, by its index; None if it has to be written."""
    url = index_place(output, index_name(task.number))
    if stat(url) is None:
        return None
    try:
        with open_read(url) as stream:
            file = pq.ParquetFile(stream)
            metadata = file.metadata.metadata or {}
            not_stored = int(metadata.get(_NOT_STORED, b"0"))
            if metadata.get(_PLAN) != task.plan.encode() or file.metadata.num_rows + not_stored != task.rows:
                return None
            table = file.read(columns=["file", "reason", "bytes"])
    except (pa.ArrowException, ValueError):
        return None
    if is_local(output):
        names, sizes = table["file"].to_pylist(), table["bytes"].to_pylist()
        for name, size in zip(names, sizes, strict=True):
            there = stat(join(output, DROPPED, name))
            if there is None or there.size != size:
                return None
    counts = tuple(sorted(Counter(table["reason"].to_pylist()).items()))
    summary = DroppedSummary(table.num_rows, sum(table["bytes"].to_pylist()), counts, 0, not_stored)
    return of_task(summary, task.number)


def _found(task: DroppedTask) -> Iterator[tuple[Row, bytes | str | None]]:
    """Each row with its image's bytes, None where they are above the size limit, or why there are none."""
    rows = (row for batch in dropped_rows(task.decisions, _COLUMNS) for row in batch.to_pylist())
    records = _records(task)
    record = next(records, None)
    for row in rows:
        while record is not None and record.index < row["index"]:
            record = next(records, None)
        yield row, _checked(row, record)


def _records(task: DroppedTask) -> Iterator[Record]:
    wanted: list[int] = []
    for batch in dropped_rows(task.decisions, ("index",)):
        wanted += batch["index"].to_pylist()
    kind, unit = container_of(task.unit), task.unit
    through = kind.is_sequential(unit) and not is_local(unit.url) and len(wanted) > _DENSE * (wanted[-1] + 1)
    return picked(kind, unit, task.read, wanted) if through else kind.read_at(unit, task.read, wanted)


def _checked(row: Row, record: Record | None) -> bytes | str | None:
    if record is None or record.index != row["index"]:
        found = "it is not there any more"
    elif record.data is None:
        if row["status"] == Status.TOO_LARGE.value:
            return None
        found = record.fault.message if record.fault is not None else "it has no image"
    elif hashlib.sha256(record.data).digest() != row["sha256"]:
        found = f"the stored bytes are not those that were scored (sha256 {row['sha256'].hex()[:16]}... expected)"
    else:
        return record.data
    return (
        f"{row['shard']}: record {printable(str(row['key']))!r} (index {row['index']}): {found}. The source changed "
        "since it was scored: restore it (--moved OLD=NEW if it lies elsewhere now), or score it again."
    )


def _batches(
    found: Iterator[tuple[Row, bytes | str | None]], problems: list[str]
) -> Iterator[list[tuple[Row, bytes | None]]]:
    """Images a few megabytes at a time; those that are gone become problems."""
    batch: list[tuple[Row, bytes | None]] = []
    size = 0
    for row, data in found:
        if isinstance(data, str):
            problems.append(data)
            continue
        batch.append((row, data))
        size += len(data or b"")
        if size >= _BATCH_BYTES or len(batch) >= _BATCH_IMAGES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _path(row: Row, data: bytes, names: RepeatedNames, part: int) -> str:
    stem = stem_of(row["reason"], row["label"], row["key"])
    if stem in names:
        stem = f"{stem}~{part}-{row['row']}"
    return f"{stem}.{image_suffix(data[:32], row['key'] or '')}"


def _index(kept: list[tuple[Row, bytes]], paths: list[str]) -> pa.Table:
    rows = [
        {name: row.get(name) for name in SCHEMA.names} | {"file": path, "bytes": len(data)}
        for (row, data), path in zip(kept, paths, strict=True)
    ]
    return pa.Table.from_pylist(rows, SCHEMA)
