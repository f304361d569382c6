"""Write one task's shards and publish them: each whole, under its final name, or not at all."""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from fiqa_core.curation.subset.folder import write_folder_shard
from fiqa_core.curation.subset.index import Finished, IndexWriter, finished
from fiqa_core.curation.subset.merged_set import write_grouped
from fiqa_core.curation.subset.own_files import forget_names
from fiqa_core.curation.subset.settings import DATA, INDEX, Slice, SubsetError, SubsetSettings, SubsetTask, cut, place
from fiqa_core.curation.subset.sorted_runs import write_run
from fiqa_core.curation.subset.source import kept_batches
from fiqa_core.curation.subset.summary import SubsetSummary, of_task
from fiqa_core.shards.batch import Cutter, ImageBatch
from fiqa_core.shards.output import FileOutput, SetOutput, ShardOutput
from fiqa_core.storage import StorageError, publish, temporary_for
from fiqa_core.storage.attempts import with_attempts

_log = logging.getLogger(__name__)
_BUFFER = 4 << 20


def write_task(
    task: SubsetTask,
    settings: SubsetSettings,
    output: str,
    grouped: bool = False,
    sleep: Callable[[float], None] = time.sleep,
) -> SubsetSummary:
    """Write the shards of a task that do not lie there yet.

    Args:
        settings: with the format that is written (of the plan). output: the folder that has `subset` in it.
        grouped: the images come in order of their numbers, so that a set of files is written in one go.

    A disk that fails is tried again (`fiqa_core.storage.attempts`). A task that fails for good is
    returned as a failure with its reason, so that the others finish.
    """
    started = time.monotonic()

    def attempt() -> SubsetSummary:
        return of_task(_write(task, settings, output, grouped), task.number, time.monotonic() - started)

    try:
        return with_attempts(attempt, f"task {task.number}", lambda error: isinstance(error, FileNotFoundError), sleep)
    except (StorageError, SubsetError) as error:
        reason = str(error)  # it says itself what to do
    except FileNotFoundError as error:
        gone = getattr(error, "filename", None) or error
        reason = f"{gone}: not there any more. If the dataset was moved, say so by --moved OLD=NEW"
    except OSError as error:
        reason = f"{type(error).__name__}: {error}"
    except Exception as error:
        _log.exception("task %d failed", task.number)
        reason = f"{type(error).__name__}: {error}"
    _log.error("task %d failed: %s", task.number, reason)
    return of_task(SubsetSummary(), task.number, time.monotonic() - started, reason)


def shard_name(first: int, settings: SubsetSettings) -> str:
    """Name (no suffix) of the output shard that begins with this image."""
    return f"shard-{first // settings.shard_size:06d}"


def _write(task: SubsetTask, settings: SubsetSettings, output: str, grouped: bool) -> SubsetSummary:
    kind = settings.output
    if isinstance(kind, SetOutput):
        return write_grouped(kind, task, settings, output) if grouped else write_run(kind, task, settings, output)
    size = settings.shard_size
    todo: list[SubsetTask] = []
    summary = SubsetSummary()
    for first in range(task.first, task.first + task.images, size):
        count = min(size, task.first + task.images - first)
        there = finished(*_looked_for(first, count, task, settings, output))
        if there is not None:
            summary = replace(
                summary,
                images=summary.images + count,
                bytes=summary.bytes + there.bytes,
                shards=summary.shards + 1,
            )
        else:
            todo.append(_narrowed(task, first, count))
    for run in _joined(todo):
        images = Cutter(kept_batches(run, settings, output))
        for first in range(run.first, run.first + run.images, size):
            count = min(size, run.first + run.images - first)
            there = _write_shard(images.take(count), first, task, settings, output)
            if there.images != count:
                raise RuntimeError(f"{count} images were planned, {there.images} came")
            summary = replace(
                summary,
                images=summary.images + count,
                images_now=summary.images_now + count,
                bytes=summary.bytes + there.bytes,
                shards=summary.shards + 1,
            )
    return summary


def _looked_for(
    first: int, count: int, task: SubsetTask, settings: SubsetSettings, output: str
) -> tuple[str, str, int, str | None]:
    name = shard_name(first, settings)
    kind = settings.output
    data = place(output, DATA, name + kind.suffix) if isinstance(kind, ShardOutput) else None
    return place(output, INDEX, f"{name}.parquet"), task.plan, count, data


def _narrowed(task: SubsetTask, first: int, images: int) -> SubsetTask:
    return replace(task, first=first, images=images, slices=cut(task.slices, first - task.first, images))


def _joined(todo: list[SubsetTask]) -> Iterator[SubsetTask]:
    """Shards that follow on one another in one piece, so that their source is read once."""
    while todo:
        run = todo.pop(0)
        while todo and todo[0].first == run.first + run.images:
            following = todo.pop(0)
            run = replace(run, images=run.images + following.images, slices=run.slices + following.slices)
        yield replace(run, slices=_without_seams(run))


def _without_seams(task: SubsetTask) -> tuple[Slice, ...]:
    found = list(task.slices[:1])
    for piece in task.slices[1:]:
        last = found[-1]
        if piece.decisions == last.decisions and piece.skip == last.skip + last.take:
            found[-1] = replace(last, take=last.take + piece.take)
        else:
            found.append(piece)
    return tuple(found)


def _write_shard(
    batches: Iterator[ImageBatch], first: int, task: SubsetTask, settings: SubsetSettings, output: str
) -> Finished:
    name, kind = shard_name(first, settings), settings.output
    with temporary_for(output) as index_path:
        with IndexWriter(index_path, task.plan) as index:
            if isinstance(kind, ShardOutput):
                _write_file(kind, batches, index, name, settings, output)
            else:
                write_folder_shard(batches, index, output)
        publish(index_path, place(output, INDEX, f"{name}.parquet"))
    if isinstance(kind, FileOutput):
        forget_names(output, first, index.images)
    return Finished(index.images, index.bytes)


def _write_file(
    kind: ShardOutput,
    batches: Iterator[ImageBatch],
    index: IndexWriter,
    name: str,
    settings: SubsetSettings,
    output: str,
) -> None:
    file = f"{DATA}/{name}{kind.suffix}"
    with temporary_for(output) as path:
        with path.open("wb", buffering=_BUFFER) as stream:
            writer = kind.begin(stream, settings.dense)
            try:
                for batch in batches:
                    index.add(batch.rows, batch.sizes, file, writer.add_batch(batch))
                writer.close()
            except BaseException:
                writer.abandon()
                raise
        publish(path, place(output, file))
