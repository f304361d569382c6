"""The last step of a subset: the merge, if its format needs one, and the summary of what was written."""

import json
from dataclasses import dataclass
from typing import Any

from fiqa_core.curation.subset.merged_set import finished_set, merge_runs
from fiqa_core.curation.subset.own_files import clear_work
from fiqa_core.curation.subset.settings import REPORT, SubsetError, SubsetSettings, place
from fiqa_core.curation.subset.summary import SubsetSummary, problems
from fiqa_core.shards.output import SetOutput
from fiqa_core.storage import publish_bytes, read_bytes


@dataclass(frozen=True)
class PlanBrief:
    """A plan without its tasks, for the last step."""

    settings: SubsetSettings
    tasks: int
    images: int
    identities: int
    unlabelled: int
    grouped: bool
    digest: str


def finish(summary: SubsetSummary, brief: PlanBrief, output: str) -> SubsetSummary:
    """Merge the sorted runs of a set if all are there, and publish the summary; returns it."""
    found = problems(summary, brief.images, brief.tasks)
    kind = brief.settings.output
    if not found and isinstance(kind, SetOutput) and not brief.grouped:
        try:
            layout = brief.settings.recordio_layout
            merge_runs(kind, range(brief.tasks), output, brief.digest, brief.images, layout)
        except (OSError, SubsetError) as error:
            found = [f"the runs could not be merged: {error}"]
    if not found and not isinstance(kind, SetOutput):
        clear_work(output)
    content = report(summary, brief, found)
    publish_bytes(json.dumps(content, indent=1).encode(), output, place(output, REPORT))
    return summary


def report(summary: SubsetSummary, brief: PlanBrief, found: list[str]) -> dict[str, Any]:
    """The summary of a subset, as in `subset/summary.json`."""
    return {
        "complete": not found,
        "problems": found,
        "format": brief.settings.format,
        "images": summary.images,
        "images_planned": brief.images,
        "images_now": summary.images_now,
        "bytes": summary.bytes,
        "shards": 1 if isinstance(brief.settings.output, SetOutput) else summary.shards,
        "identities": brief.identities,
        "unlabelled": brief.unlabelled,
        "relabelled": brief.settings.dense,
        "worker_seconds": round(summary.seconds, 3),
        "settings": brief.settings.to_dict(),
        "plan": brief.digest,
    }


def finished_report(brief: PlanBrief, output: str) -> dict[str, Any] | None:
    """The summary of a set that is complete; its runs are removed, so its tasks cannot report it."""
    if not isinstance(brief.settings.output, SetOutput):
        return None
    there = finished_set(brief.settings.output, output, brief.digest, brief.images)
    if there is None:
        return None
    summary = SubsetSummary(there.images, there.bytes, 1)
    content = report(summary, brief, [])
    publish_bytes(json.dumps(content, indent=1).encode(), output, place(output, REPORT))
    clear_work(output)
    return content


def read_report(output: str) -> dict[str, Any]:
    """The summary that the last step wrote.

    Raises:
        SubsetError: there is none.
    """
    return read_last_step(place(output, REPORT), "Finished shards are kept")


def read_last_step(url: str, kept: str) -> dict[str, Any]:
    """What the last step of a job published.

    Args:
        kept: what of the job is not lost, for the error.

    Raises:
        SubsetError: there is nothing.
    """
    try:
        return dict(json.loads(read_bytes(url)))
    except FileNotFoundError as error:
        raise SubsetError(
            f"{url}: the job ended without it, so its last step did not run. {kept}: run again with --resume."
        ) from error
