"""Units in, one summary out: the scoring job as Beam sees it. No image ever crosses an edge."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.utils.shared import Shared

from fiqa_core.alignment.aligner import Aligner
from fiqa_core.alignment.first_look import FirstLook
from fiqa_core.alignment.source import AlignerSource, use_one_thread_a_picture
from fiqa_core.scoring.batch_scorer import BatchScorer
from fiqa_core.scoring.process import tune_process
from fiqa_core.scoring.progress import Heartbeat, Progress
from fiqa_core.scoring.run import write_summary
from fiqa_core.scoring.score_unit import score_unit
from fiqa_core.scoring.scorer_sources import ScorerSource
from fiqa_core.scoring.settings import ScoreSettings
from fiqa_core.scoring.summary import Summary, merge
from fiqa_core.shards.unit import Unit
from transforms.adding_up import AddUp

# Beam counters, for the runner's user interface and the driver's progress line. They are estimates: the work of a lost
# worker counts twice. The exact numbers are in the table and in summary.json.
COUNTERS = "fiqa"
# In the order of a `Tally`: for this run, and for units that an earlier run finished.
NOW_COUNTERS = ("records", "rejected", "bytes", "units_done")
KEPT_COUNTERS = ("records_kept", "rejected_kept", "bytes_kept", "units_kept")


class _CountingHeartbeat(Heartbeat):
    """A heartbeat that also updates Beam's counters."""

    def count(self, change: Progress) -> None:
        super().count(change)
        for name, number in zip(NOW_COUNTERS + KEPT_COUNTERS, change.now + change.kept, strict=True):
            if number:
                Metrics.counter(COUNTERS, name).inc(number)


class ScoreUnitFn(beam.DoFn):
    """Reads, decodes, batches, scores and publishes one unit inside `process`; emits its `Summary`.

    All of it happens in one step, because a batch sent to another stage would carry images, and because some runners
    drop what `finish_bundle` emits.
    """

    def __init__(
        self,
        source: ScorerSource,
        settings: ScoreSettings,
        output: str,
        decode_threads: int,
        aligner: AlignerSource | None = None,
    ) -> None:
        self._source = source
        self._aligner_source = aligner
        self._settings = settings
        self._output = output
        self._decode_threads = decode_threads
        self._shared = Shared()
        self._shared_aligner = Shared()
        self._scorer: BatchScorer | None = None
        self._aligner: Aligner | None = None
        self._heartbeat: Heartbeat | None = None

    def setup(self) -> None:
        """One scorer and aligner a process, shared by all its threads."""
        tune_process()
        self._scorer = self._shared.acquire(self._source.load, tag=self._settings.digest())
        if self._aligner_source is not None:
            use_one_thread_a_picture()
            self._aligner = self._shared_aligner.acquire(self._aligner_source.load, tag=self._settings.digest())
        self._heartbeat = _CountingHeartbeat(self._output)

    def process(self, unit: Unit) -> Iterator[Summary]:
        """Score one unit."""
        if self._scorer is None:
            raise RuntimeError("the runner called process() before setup()")
        summary = score_unit(
            unit,
            self._scorer,
            self._settings,
            self._output,
            self._decode_threads,
            self._heartbeat,
            aligner=self._aligner,
        )
        _count_unit(summary)
        yield summary


def _count_unit(summary: Summary) -> None:
    if summary.failures:
        Metrics.counter(COUNTERS, "units_failed").inc()
    elif summary.rows_now:
        for status, count in summary.status.items():
            Metrics.counter(COUNTERS, f"status_{status}").inc(count)


class ScoreDataset(beam.PTransform):
    """Units -> quality files under `output`, then `summary.json` once every unit was tried.

    Input: a PCollection of `Unit`. Output: a PCollection with the one `Summary`. `hints`: Beam resource hints
    (`accelerator`, `min_ram` ...) of the one step that reads, decodes and scores; no other step has them. `aligner`:
    makes what aligns the pictures; `first_look`: what the driver saw of pictures that are not aligned.
    """

    def __init__(
        self,
        source: ScorerSource,
        settings: ScoreSettings,
        output: str,
        planned: int,
        decode_threads: int = 1,
        hints: Mapping[str, str] | None = None,
        aligner: AlignerSource | None = None,
        first_look: FirstLook | None = None,
    ) -> None:
        super().__init__()
        self._first_look = first_look
        self._hints = dict(hints or {})
        self._score = ScoreUnitFn(source, settings, output, decode_threads, aligner)
        self._settings = settings
        self._output = output
        self._planned = planned

    def expand(self, units: Any) -> Any:
        """Score, add up, and publish the account."""
        return (
            units
            | "ScoreUnit" >> beam.ParDo(self._score).with_output_types(Summary).with_resource_hints(**self._hints)
            | "AddUp" >> beam.CombineGlobally(AddUp(Summary, merge))
            | "WriteSummary"
            >> beam.Map(
                publish_summary, self._output, self._planned, time.time(), self._settings.to_dict(), self._first_look
            )
        )


def publish_summary(
    summary: Summary,
    output: str,
    planned: int,
    started: float,
    settings: dict[str, Any],
    first_look: FirstLook | None = None,
) -> Summary:
    """Write `summary.json`; passes the summary on."""
    write_summary(output, planned, time.time() - started, settings, summary, first_look)
    return summary
