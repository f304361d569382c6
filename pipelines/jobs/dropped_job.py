"""Write the images that decisions drop, by reason: plan, run, report."""

import functools
import logging
from collections.abc import Sequence
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from fiqa_core import storage
from fiqa_core.curation.dropped.plan import plan_dropped
from fiqa_core.curation.dropped.settings import REPORT, index_place
from fiqa_core.curation.dropped.summary import read_dropped_report
from fiqa_core.runs.folder import remove_notes
from fiqa_core.runs.layout import PROGRESS
from fiqa_core.scoring.progress import read_progress
from fiqa_core.tables.quality_files import TableFile
from fiqa_core.wording import counted
from pipelines.runners.beam_options import run_job
from pipelines.runners.progress import SubsetMonitor
from transforms.dropped import WriteDropped

_log = logging.getLogger(__name__)


def write_dropped(
    parts: Sequence[TableFile],
    decisions_folder: str,
    moved: Sequence[tuple[str, str]],
    output: str,
    options: PipelineOptions,
    resume: bool,
) -> dict[str, Any]:
    """Write the dropped images of a table under `<output>/dropped`; returns what `dropped_index/summary.json` holds.

    The caller holds the output's lock.

    Raises:
        SubsetError: the images cannot be written as asked. JobError: the runner gave the job up.
    """
    plan = plan_dropped(parts, storage.absolute(decisions_folder), moved, output, resume)
    storage.remove(index_place(output, REPORT))
    pipeline = beam.Pipeline(options=options)
    _ = pipeline | "DroppedTasks" >> beam.Create(plan.tasks) | "WriteDropped" >> WriteDropped(plan, output)
    if storage.is_local(output):
        storage.make_folder(storage.join(output, PROGRESS))
    _log.info("writing %s that are dropped, by reason", counted(plan.images, "image"))
    try:
        with SubsetMonitor(functools.partial(read_progress, output), plan.images, len(plan.tasks)):
            run_job(pipeline)
    finally:
        remove_notes(output)
    storage.sweep(output)
    return read_dropped_report(output, plan)
