"""Tasks in, one summary out: the writing of a subset as Beam sees it. No image ever crosses an edge."""

from collections.abc import Iterator
from typing import Any

import apache_beam as beam

from fiqa_core.curation.subset.plan import SubsetPlan
from fiqa_core.curation.subset.report import finish
from fiqa_core.curation.subset.settings import SubsetSettings, SubsetTask
from fiqa_core.curation.subset.summary import SubsetSummary, merge
from fiqa_core.curation.subset.write_task import write_task
from transforms.adding_up import AddUp


class WriteTaskFn(beam.DoFn):
    """Reads, verifies, writes and publishes one task's shards inside `process`; emits its `SubsetSummary`."""

    def __init__(self, settings: SubsetSettings, output: str, grouped: bool) -> None:
        self._settings, self._output, self._grouped = settings, output, grouped

    def process(self, task: SubsetTask) -> Iterator[SubsetSummary]:
        """Write one task."""
        yield write_task(task, self._settings, self._output, self._grouped)


class WriteSubset(beam.PTransform):
    """Tasks -> shards under `<output>/subset`, then (RecordIO: the merge of all runs, and) `summary.json`.

    Input: a PCollection of the plan's `SubsetTask`s. Output: a PCollection with the one `SubsetSummary`.
    """

    def __init__(self, plan: SubsetPlan, output: str) -> None:
        super().__init__()
        self._plan, self._output = plan, output

    def expand(self, tasks: Any) -> Any:
        """Write, add up, finish."""
        plan = self._plan
        return (
            tasks
            | "WriteTask"
            >> beam.ParDo(WriteTaskFn(plan.settings, self._output, plan.grouped)).with_output_types(SubsetSummary)
            | "AddUp" >> beam.CombineGlobally(AddUp(SubsetSummary, merge))
            | "Finish" >> beam.Map(finish, plan.brief(), self._output)
        )
