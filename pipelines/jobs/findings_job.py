"""The search for label noise and near duplicates as Beam jobs: one for each stage, on any runner."""

import json
import logging
import os
import time
from collections.abc import Sequence
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from fiqa_core import storage
from fiqa_core.curation.findings.search import Search
from fiqa_core.curation.findings.search import find as search_for
from fiqa_core.curation.findings.search_result import SearchResult
from fiqa_core.curation.findings.settings import FindingsSettings
from fiqa_core.curation.findings.tasks import Counts, Task, run_here
from fiqa_core.tables.embedding_files import EmbeddingSource
from fiqa_core.tables.quality_files import TableFile
from fiqa_core.wording import counted
from pipelines.runners.beam_options import is_local, run_job, worker_processes
from transforms.findings import RunTasks, publish_counts

_log = logging.getLogger(__name__)
_CLUSTER_THREADS = 4


def find(
    parts: Sequence[TableFile],
    own: int,
    source: EmbeddingSource | None,
    settings: FindingsSettings,
    workspace: str,
    options: PipelineOptions,
) -> SearchResult:
    """Look for label noise and near duplicates; what an earlier search has finished is kept.

    Args:
        parts: files of the dataset's quality table, then those of --against. own: rids below are the dataset's.
        source: where the embeddings come from; None: only perceptual hashes are compared.
        workspace: the output folder; `findings/` is made in it, and `_findings/` while the search lasts.
        options: Beam's options.

    Raises:
        TableError: tables or embeddings that cannot be used. JobError: a stage failed; run it again to go on.
    """
    output = storage.absolute(workspace)

    def run_stage(stage: str, tasks: Sequence[Task]) -> Counts:
        started = time.monotonic()
        summary = storage.join(tasks[0].work, "done", f"stage-{stage}.json")
        if storage.stat(summary) is None:
            if is_local(options) and len(tasks) == 1:
                # Starting worker processes takes longer than most stages with one task.
                publish_counts(run_here(stage, tasks), output, summary)
            else:
                pipeline = beam.Pipeline(options=options)
                units = pipeline | "Tasks" >> beam.Create(list(tasks)).with_output_types(Any)
                _ = units | "RunTasks" >> RunTasks(output, summary)
                run_job(pipeline)
        counts: Counts = json.loads(storage.read_bytes(summary))
        _log.info("%s: %s, %.1f s %s", stage, counted(len(tasks), "task"), time.monotonic() - started, counts or "")
        return counts

    threads = max(1, (os.cpu_count() or 1) // worker_processes(options)) if is_local(options) else _CLUSTER_THREADS
    return search_for(Search(tuple(parts), own, source, settings, output, threads), run_stage)
