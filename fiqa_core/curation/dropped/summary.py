"""What tasks have written of the dropped images, as counts that can be added in any order."""

import json
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from fiqa_core.curation.dropped.plan import DroppedPlan
from fiqa_core.curation.dropped.settings import REPORT, index_place
from fiqa_core.curation.subset.report import read_last_step
from fiqa_core.storage import publish_bytes
from fiqa_core.wording import counted


@dataclass(frozen=True)
class DroppedSummary:
    """Counts of one task or of many.

    `images` are written, `by_reason` says how many of each; `bytes` are theirs; `images_now` were written by this run;
    `not_stored`: images above the size limit, of which no reader gives the bytes; `tasks`: numbers of the decisions
    files; `failures`: (task, reason).
    """

    images: int = 0
    bytes: int = 0
    by_reason: tuple[tuple[str, int], ...] = ()
    images_now: int = 0
    not_stored: int = 0
    tasks: tuple[int, ...] = ()
    failures: tuple[tuple[int, str], ...] = ()


def merge(a: DroppedSummary, b: DroppedSummary) -> DroppedSummary:
    """The sum of both; associative and commutative."""
    return DroppedSummary(
        a.images + b.images,
        a.bytes + b.bytes,
        tuple(sorted((Counter(dict(a.by_reason)) + Counter(dict(b.by_reason))).items())),
        a.images_now + b.images_now,
        a.not_stored + b.not_stored,
        tuple(sorted(a.tasks + b.tasks)),
        tuple(sorted(a.failures + b.failures)),
    )


def of_task(summary: DroppedSummary, number: int, failures: tuple[str, ...] = ()) -> DroppedSummary:
    """The summary of a task that is done, or in which something failed."""
    return replace(summary, tasks=(number,), failures=tuple((number, reason) for reason in failures))


def finish(summary: DroppedSummary, tasks: tuple[int, ...], images: int, output: str) -> DroppedSummary:
    """Publish the summary; returns it."""
    problems = [reason for _, reason in summary.failures]
    if summary.tasks != tasks:
        problems.append("the runner lost tasks, or counted some twice: run again with --resume")
    elif not problems and summary.images + summary.not_stored != images:
        there = counted(images, "image was", "images were")
        problems.append(f"{there} to be written, {summary.images + summary.not_stored:,} came: run with --resume")
    content = {
        "complete": not problems,
        "problems": problems,
        "images": summary.images,
        "images_planned": images,
        "images_now": summary.images_now,
        "bytes": summary.bytes,
        "by_reason": dict(summary.by_reason),
        "above_the_size_limit": summary.not_stored,
    }
    publish_bytes(json.dumps(content, indent=1).encode(), output, index_place(output, REPORT))
    return summary


def read_dropped_report(output: str, plan: DroppedPlan) -> dict[str, Any]:
    """The summary that the last step wrote.

    Raises:
        SubsetError: there is none.
    """
    kept = f"{counted(plan.images, 'image')} to write; what is finished is kept"
    return read_last_step(index_place(output, REPORT), kept)
