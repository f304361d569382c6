"""Write the subset that decisions describe: plan, run, report."""

from collections.abc import Sequence
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from fiqa_core import storage
from fiqa_core.curation.parts import Part
from fiqa_core.curation.subset import REPORT, SubsetSettings, place
from fiqa_core.curation.subset_plan import plan_subset
from fiqa_core.curation.subset_report import finished_report, read_report
from pipelines.runners import run_job
from transforms.subset import WriteSubset


def write_subset(
    parts: Sequence[Part],
    decisions_folder: str,
    settings: SubsetSettings,
    output: str,
    options: PipelineOptions,
    resume: bool = False,
) -> dict[str, Any]:
    """Write the kept images of a table under `<output>/subset`; the account, as `subset/summary.json` has it.

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
    run_job(pipeline)
    storage.sweep(output)
    return read_report(output)
