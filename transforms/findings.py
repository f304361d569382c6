"""Tasks in, counts out: one stage of the search for label noise and near duplicates. No embedding crosses an edge."""

import json
from collections.abc import Iterator
from typing import Any

import apache_beam as beam

from fiqa_core.curation.findings.tasks import Counts, add_counts, run_task
from fiqa_core.storage import publish_bytes
from transforms.adding_up import AddUp


class RunTaskFn(beam.DoFn):
    """Does one task inside `process`; emits its counts."""

    def process(self, task: Any) -> Iterator[Counts]:
        """Do one `Task`, unless it is done already. (`Any`, because Beam cannot check a protocol.)"""
        yield run_task(task)


class RunTasks(beam.PTransform):
    """Tasks -> their files, then a JSON file with the sum of their counts, which says that all are done.

    Input: a PCollection of tasks. Output: a PCollection with the one sum.
    """

    def __init__(self, output: str, summary: str) -> None:
        super().__init__()
        self._output, self._summary = output, summary

    def expand(self, tasks: Any) -> Any:
        """Run, add up, and publish the sum."""
        return (
            tasks
            | "RunTask" >> beam.ParDo(RunTaskFn())
            | "AddUp" >> beam.CombineGlobally(AddUp(dict, add_counts))
            | "Publish" >> beam.Map(publish_counts, self._output, self._summary)
        )


def publish_counts(counts: Counts, output: str, url: str) -> Counts:
    """Write a stage's counts; passes them on."""
    publish_bytes(json.dumps(counts, sort_keys=True).encode(), output, url)
    return counts
