"""One set of files from images in any order: sorted runs, then one merge; or one pass if they are in order already.

Such a set (RecordIO) has the images of a label next to each other. So every task writes a run (`sorted_runs.py`), and
the merge reads all runs in parallel and writes the set. No image is shuffled.
"""

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

from fiqa_core.curation.subset.index import Finished, IndexWriter, finished
from fiqa_core.curation.subset.own_files import clear_work
from fiqa_core.curation.subset.settings import DATA, INDEX, SubsetError, SubsetSettings, SubsetTask, place
from fiqa_core.curation.subset.sorted_runs import Packed, merged, packed, run_files
from fiqa_core.curation.subset.source import kept_batches
from fiqa_core.curation.subset.summary import SubsetSummary
from fiqa_core.shards.output import SetOutput
from fiqa_core.storage import exists, publish, remove, temporary_for

_WRITE_BYTES = 4 << 20


def merge_runs(kind: SetOutput, tasks: Iterable[int], output: str, plan: str, images: int, layout: str) -> None:
    """Merge the runs of all tasks into the set, unless it is complete; then remove them.

    `layout`: as in the plan's settings.

    Raises:
        SubsetError: a run is damaged.
    """
    if finished_set(kind, output, plan, images) is None:
        _write_set(kind, merged([run_files(output, number) for number in tasks]), output, plan, images, layout)
    clear_work(output)


def write_grouped(kind: SetOutput, task: SubsetTask, settings: SubsetSettings, output: str) -> SubsetSummary:
    """Write the whole set in one pass, from images that come in order of their numbers."""
    there = finished_set(kind, output, task.plan, task.images)
    if there is not None:
        return SubsetSummary(task.images, there.bytes, 1)
    batches = packed(kind, kept_batches(task, settings, output))
    total = _write_set(kind, batches, output, task.plan, task.images, settings.recordio_layout)
    return SubsetSummary(task.images, total, 1, task.images)


def _write_set(kind: SetOutput, batches: Iterable[Packed], output: str, plan: str, images: int, layout: str) -> int:
    """Write and publish the set; returns the bytes of its images. The file that readers open first is published
    last."""
    with ExitStack() as temporaries:
        paths = [temporaries.enter_context(temporary_for(output)) for _ in kind.files]
        index_path = temporaries.enter_context(temporary_for(output))
        with IndexWriter(index_path, plan) as index:
            _write_files(kind, batches, paths, index, layout)
        if index.images != images:
            raise SubsetError(f"{images} images were planned, {index.images} came: write the subset again")
        remove(place(output, DATA, kind.files[-1]))
        publish(index_path, place(output, INDEX, f"{kind.name}.parquet"))
        for path, name in zip(paths, kind.files, strict=True):
            publish(path, place(output, DATA, name))
    return index.bytes


def _write_files(
    kind: SetOutput, batches: Iterable[Packed], paths: list[Path], index: IndexWriter, layout: str
) -> None:
    with ExitStack() as files:
        streams = [files.enter_context(path.open("wb", buffering=_WRITE_BYTES)) for path in paths]
        writer = kind.begin(streams, layout)
        for batch in batches:
            keys = writer.add(batch.plain, batch.numbers)
            index.add(batch.rows, batch.sizes, f"{DATA}/{kind.files[0]}", keys)
        writer.close()


def finished_set(kind: SetOutput, output: str, plan: str, images: int) -> Finished | None:
    """The contents of a set that is complete, by its index; None if it has to be written."""
    if not exists(place(output, DATA, kind.files[-1])):
        return None
    data = place(output, DATA, kind.files[0])
    return finished(place(output, INDEX, f"{kind.name}.parquet"), plan, images, data)
