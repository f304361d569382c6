"""Tasks in, one summary out: the writing of a subset as Beam sees it. No image ever crosses an edge."""

import functools
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam

from fiqa_core.curation.subset.plan import SubsetPlan
from fiqa_core.curation.subset.report import finish
from fiqa_core.curation.subset.settings import SubsetSettings, SubsetTask
from fiqa_core.curation.subset.summary import SubsetSummary, merge
from fiqa_core.curation.subset.write_task import write_task


class WriteTaskFn(beam.DoFn):
    """Reads, verifies, writes and publishes one task's shards inside `process`; emits its `SubsetSummary`."""

    def __init__(self, settings: SubsetSettings, output: str, grouped: bool) -> None:
        self._settings, self._output, self._grouped = settings, output, grouped

    def process(self, task: SubsetTask) -> Iterator[SubsetSummary]:
        """Write one task."""
        yield write_task(task, self._settings, self._output, self._grouped)


class MergeSubsetSummaries(beam.CombineFn):
    """Adds task summaries up."""

    def create_accumulator(self) -> SubsetSummary:
        """Nothing yet."""
        return SubsetSummary()

    def add_input(self, accumulator: SubsetSummary, summary: SubsetSummary) -> SubsetSummary:
        """One more task."""
        return merge(accumulator, summary)

    def merge_accumulators(self, accumulators: Iterable[SubsetSummary]) -> SubsetSummary:
        """Partial sums together."""
        return functools.reduce(merge, accumulators, SubsetSummary())

    def extract_output(self, accumulator: SubsetSummary) -> SubsetSummary:
        """The sum itself."""
        return accumulator


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
            | "AddUp" >> beam.CombineGlobally(MergeSubsetSummaries())
            | "Finish" >> beam.Map(finish, plan.brief(), self._output)
        )
