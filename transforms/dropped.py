"""Tasks in, one summary out: the writing of dropped images as Beam sees it. No image ever crosses an edge."""

from collections.abc import Iterator
from typing import Any

import apache_beam as beam

from fiqa_core.curation.dropped.plan import DroppedPlan
from fiqa_core.curation.dropped.settings import DroppedTask
from fiqa_core.curation.dropped.summary import DroppedSummary, finish, merge
from fiqa_core.curation.dropped.write_part import write_part
from transforms.adding_up import AddUp


class WritePartFn(beam.DoFn):
    """Reads, verifies and writes one task's images inside `process`; emits its `DroppedSummary`."""

    def __init__(self, output: str) -> None:
        self._output = output

    def process(self, task: DroppedTask) -> Iterator[DroppedSummary]:
        """Write one task."""
        yield write_part(task, self._output)


class WriteDropped(beam.PTransform):
    """Tasks -> images under `<output>/dropped`, then `dropped_index/summary.json`.

    Input: a PCollection of the plan's `DroppedTask`s. Output: a PCollection with the one `DroppedSummary`.
    """

    def __init__(self, plan: DroppedPlan, output: str) -> None:
        super().__init__()
        self._plan, self._output = plan, output

    def expand(self, tasks: Any) -> Any:
        """Write, add up, finish."""
        numbers = tuple(task.number for task in self._plan.tasks)
        return (
            tasks
            | "WritePart" >> beam.ParDo(WritePartFn(self._output)).with_output_types(DroppedSummary)
            | "AddUpDropped" >> beam.CombineGlobally(AddUp(DroppedSummary, merge))
            | "FinishDropped" >> beam.Map(finish, numbers, self._plan.images, self._output)
        )
