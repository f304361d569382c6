"""Write the subset that decisions describe: plan, run, report."""

import functools
import logging
from collections.abc import Sequence
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from fiqa_core import storage
from fiqa_core.curation.subset.plan import plan_subset
from fiqa_core.curation.subset.report import finished_report, read_report
from fiqa_core.curation.subset.settings import REPORT, SubsetSettings, place
from fiqa_core.runs.folder import remove_notes
from fiqa_core.runs.layout import PROGRESS
from fiqa_core.scoring.progress import read_progress
from fiqa_core.tables.quality_files import TableFile
from fiqa_core.wording import counted
from pipelines.runners.beam_options import run_job
from pipelines.runners.progress import SubsetMonitor
from transforms.subset import WriteSubset

_log = logging.getLogger(__name__)


def write_subset(
    parts: Sequence[TableFile],
    decisions_folder: str,
    settings: SubsetSettings,
    output: str,
    options: PipelineOptions,
    resume: bool = False,
) -> dict[str, Any]:
    """Write the kept images of a table under `<output>/subset`; returns what `subset/summary.json` holds.

    The caller holds the output's lock. Without `resume` an earlier subset there is removed.

    Raises:
        SubsetError: the subset cannot be written as asked, or another one lies there that cannot be resumed.
        JobError: the runner gave the job up.
    """
    output = storage.absolute(output)
    plan = plan_subset(parts, storage.absolute(decisions_folder), settings, output, resume)
    earlier = finished_report(plan.brief(), output)
    if earlier is not None:
        return earlier
    storage.remove(place(output, REPORT))
    pipeline = beam.Pipeline(options=options)
    _ = pipeline | "Tasks" >> beam.Create(plan.tasks) | "WriteSubset" >> WriteSubset(plan, output)
    if storage.is_local(output):
        storage.make_folder(storage.join(output, PROGRESS))
    _log.info("writing %s as %s", counted(plan.images, "image"), settings.format)
    try:
        with SubsetMonitor(functools.partial(read_progress, output), plan.images, len(plan.tasks)):
            run_job(pipeline)
    finally:
        remove_notes(output)
    storage.sweep(output)
    return read_report(output)
