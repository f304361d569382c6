"""From a command's options to a finished table: what score_dataset, embed_dataset and measure_baselines share."""

import argparse
import dataclasses
import functools
import logging
import os
import shlex
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from fiqa_core import storage
from fiqa_core.alignment.first_look import FirstLook
from fiqa_core.alignment.source import AlignerSource
from fiqa_core.runs.lock import hold_output
from fiqa_core.runs.plan import Plan, plan_dataset
from fiqa_core.scoring import run as scoring_run
from fiqa_core.scoring.calibration import outside_lines
from fiqa_core.scoring.first_pictures import first_look
from fiqa_core.scoring.progress import read_progress
from fiqa_core.scoring.scorer_sources import ScorerSource
from fiqa_core.scoring.service.source import ServedSource
from fiqa_core.scoring.settings import ScoreSettings
from fiqa_core.shards.balance import idle_workers
from fiqa_core.shards.sample import take_sample
from fiqa_core.wording import counted
from pipelines.cli.align_options import log_pictures
from pipelines.cli.command import EXIT_BAD_INPUT, EXIT_INCOMPLETE, EXIT_OK
from pipelines.cli.label_report import label_problem, log_labels
from pipelines.cli.log_format import report
from pipelines.cli.program import python, runnable
from pipelines.cli.table_options import DEFAULT_UNIT_SIZE, sample_of
from pipelines.jobs.dry_run import look_first
from pipelines.jobs.exit_choice import settle_exit
from pipelines.jobs.network_settings import settle_compile
from pipelines.jobs.score_groups_job import add_groups, check_groups_given, group_lines
from pipelines.runners import dataflow, dataflow_job
from pipelines.runners.beam_options import is_in_process, is_local, refuse_memory, run_job, worker_processes
from pipelines.runners.local_workers import choose_workers, places_of, served
from pipelines.runners.progress import ProgressMonitor
from transforms.score import ScoreDataset

_MOST_DECODE_THREADS = 4

NOTHING_NOW = {"records_this_run": 0, "images_per_second": 0}

# The lines that a command prints about the numbers of `summary.json`, and about what to do next with its table.
FigureLines = Callable[[dict[str, Any]], list[str]]
NextLine = Callable[[str], str]


@dataclass(frozen=True)
class TableJob:
    """One run of a command: its options, what makes its scorer, and the lines it prints at the end.

    `next_line` None: nobody will look at the table (it belongs to another command, which removes it at its end).
    `aligner`: what aligns pictures; None where they are scored as they are.
    """

    arguments: argparse.Namespace
    options: PipelineOptions
    settings: ScoreSettings
    source: ScorerSource
    workers: dataflow.WorkerSetup
    log: logging.Logger
    figures: FigureLines
    next_line: NextLine | None
    aligner: AlignerSource | None = None


def prepare_workers(
    arguments: argparse.Namespace,
    options: PipelineOptions,
    resolve: Callable[[str], object],
) -> dataflow.WorkerSetup:
    """Check runner, device (`resolve` refuses one that is missing) and places before anything is read."""
    places = places_of(arguments)
    workers = dataflow.prepare(options, arguments.gpu, arguments.device, arguments.no_wait, places)
    if is_local(options):
        resolve(arguments.device)
    if not is_in_process(options):
        refuse_memory(chain.from_iterable(places.values()))
    elif arguments.scoring_process == "on":
        refuse_memory(
            places.get("--model", ()), "the scoring process, which loads it, is another", "--scoring-process off"
        )
    return workers


def run_table(job: TableJob) -> int:
    """Plan, score and account for everything; the exit code (0 only if every record is accounted for)."""
    output = storage.absolute(job.arguments.output)
    sample = sample_of(job.arguments)
    if job.arguments.dry_run:
        return look_first(job.arguments, job.settings, sample)
    job = dataclasses.replace(job, settings=dataclasses.replace(job.settings, sample=sample))
    if dataflow.is_dry_run(job.options):
        return _dry_run(output, job)
    with hold_output(output):
        return _run_on(output, job)


def _run_on(output: str, job: TableJob) -> int:
    arguments, options, settings = job.arguments, job.options, job.settings
    check_groups_given(arguments)
    earlier_unit_size = scoring_run.prepare_output(output, arguments.resume, arguments.overwrite)
    unit_size = arguments.unit_size or earlier_unit_size or DEFAULT_UNIT_SIZE
    plan = plan_dataset(arguments.input, arguments.format, unit_size, storage.join(output, "plan"), settings.read)
    settings, source = settle_exit(arguments, options, settings, job.source, plan, job.aligner)
    plan, settings = _sampled(plan, settings)
    _log_plan(plan, job.log)
    if settings.sample is not None:
        job.log.info("%s", settings.sample.in_words())
    settings, source = settle_compile(arguments, options, settings, source, plan)
    job = dataclasses.replace(job, settings=settings, source=source)
    finished = scoring_run.begin(output, arguments.input, unit_size, settings, plan, arguments.overwrite)
    if finished is not None:
        job.log.info("the run in %s is complete already: nothing to do", arguments.output)
        finished = add_groups(output, arguments, finished)
        return _end(job, finished | NOTHING_NOW, scoring_run.Account(True, ()))
    choose_workers(options, arguments, plan)
    idle = idle_workers(plan.units, worker_processes(options))
    if idle is not None:
        job.log.warning("%s", idle)
    pipeline = _pipeline(output, job, plan, _first_look(job, plan))
    if dataflow.is_dataflow(options):
        if not dataflow_job.run_job(pipeline, options, plan, wait=not arguments.no_wait):
            return EXIT_OK
    else:
        with ProgressMonitor(functools.partial(read_progress, output), plan):
            run_job(pipeline)
    summary, account = scoring_run.close_account(output, plan.units, settings)
    summary = add_groups(output, arguments, summary)
    return _end(job, summary, account)


def _end(job: TableJob, summary: dict[str, Any], account: scoring_run.Account) -> int:
    """Log what there is to know of labels and pictures, then print the account, whose last lines are the next step."""
    code = _check_labels(job, summary, EXIT_OK if account.complete else EXIT_INCOMPLETE)
    _print_end(job, summary, account, code)
    return code


def _check_labels(job: TableJob, summary: dict[str, Any], code: int) -> int:
    """Log which labels there are; the exit code, which is that of a bad option if no record has the field named."""
    labels = summary.get("labels")  # an earlier version's summary has none
    if labels is None:
        return code
    log_labels(job.log, labels)
    log_pictures(job.log, summary)
    problem = label_problem(labels, job.settings.read.label_field)
    if problem is None:
        return code
    job.log.error("%s", problem)
    return code if code != EXIT_OK else EXIT_BAD_INPUT


def _first_look(job: TableJob, plan: Plan) -> FirstLook | None:
    """What the first pictures of a run without --align are; said where they are not aligned crops."""
    look = first_look(plan.units, job.settings) if job.aligner is None else None
    if look is not None and look.warning is not None:
        job.log.warning("%s", look.warning)
    return look


def _pipeline(output: str, job: TableJob, plan: Plan, look: FirstLook | None = None) -> beam.Pipeline:
    arguments, options, workers = job.arguments, job.options, job.workers
    source = served(job.source, options, arguments, workers.device)
    if isinstance(source, ServedSource) and is_local(options):
        source.start()  # the network is loaded while the workers start
    threads = arguments.decode_threads or _decode_threads(options)
    scoring = ScoreDataset(source, job.settings, output, len(plan.units), threads, workers.hints, job.aligner, look)
    pipeline = beam.Pipeline(options=options)
    _ = pipeline | "Units" >> beam.Create(plan.units) | "ScoreDataset" >> scoring
    return pipeline


def _dry_run(output: str, job: TableJob) -> int:
    """Plan and translate as for a real run; what a plan must write down goes to a folder that is removed."""
    arguments, options = job.arguments, job.options
    with tempfile.TemporaryDirectory() as workspace:
        plan = plan_dataset(arguments.input, arguments.format, arguments.unit_size or DEFAULT_UNIT_SIZE, workspace)
        plan, settings = _sampled(plan, job.settings)
        _log_plan(plan, job.log)
        job = dataclasses.replace(job, settings=settings)
        dataflow_job.run_job(_pipeline(output, job, plan), options, plan, wait=False)
    return EXIT_OK


def _sampled(plan: Plan, settings: ScoreSettings) -> tuple[Plan, ScoreSettings]:
    """Plan and settings of the part of the dataset that is asked for."""
    if settings.sample is None:
        return plan, settings
    plan, sample = take_sample(plan, settings.sample, settings.read)
    return plan, dataclasses.replace(settings, sample=sample)


def network_threads(options: PipelineOptions, arguments: argparse.Namespace) -> int:
    """CPU threads of a network, 0 = its own choice: networks in several processes divide the cores among themselves."""
    processes = 1 if arguments.scoring_process == "on" else worker_processes(options)
    return max(1, (os.cpu_count() or 1) // processes) if processes > 1 else 0


def _decode_threads(options: PipelineOptions) -> int:
    """Threads that decode in each worker process: more than a few only wait for Python's interpreter lock."""
    if not is_local(options):
        return _MOST_DECODE_THREADS
    return max(1, min(_MOST_DECODE_THREADS, (os.cpu_count() or 1) // worker_processes(options)))


def _log_plan(plan: Plan, log: logging.Logger) -> None:
    units = counted(len(plan.units), "unit")
    if plan.records is None:
        log.info("planned %s; the record count is known after reading", units)
    else:
        log.info("planned %s, %s", units, counted(plan.records, "record"))


def _print_end(job: TableJob, summary: dict[str, Any], account: scoring_run.Account, code: int) -> None:
    lines = [f"{counted(summary['records'], 'record')} in {counted(summary['units'], 'unit')}:"]
    if job.settings.sample is not None:
        lines.insert(0, job.settings.sample.in_words())
    lines += [f"  {name:<18}{count:>12,}" for name, count in summary["status"].items()]
    lines += [*job.figures(summary), *group_lines(summary)]
    if job.settings.calibration is not None:
        lines += outside_lines(job.settings.calibration, summary["quality"])
    lines.append(f"{counted(summary['records_this_run'], 'record')} this run, {summary['images_per_second']} images/s")
    for problem in account.problems:
        lines.append(f"PROBLEM: {problem}")
    if account.complete and not summary["records"]:
        lines.append("the input has no records, so the table is empty. Check --input (and --format).")
    elif account.complete and storage.in_this_process_only(job.arguments.output):
        lines.append("the table is in the memory of this process, and gone when it ends")
    elif account.complete and code != EXIT_OK:
        lines.append("next: score again with a --label-field that the records have, or without (see the error above)")
    elif account.complete and job.next_line is not None:
        lines += job.next_line(storage.join(job.arguments.output, "quality")).split("\n")
    elif not account.complete:
        lines.append("next: fix what is named above and run the same command with --resume")
    report(lines)


def quality_lines(summary: dict[str, Any]) -> list[str]:
    """The distribution of the qualities, if there are any."""
    if "quantiles" not in summary["quality"]:
        return []
    quantiles = summary["quality"]["quantiles"]
    shown = ", ".join(f"{int(float(q) * 100)} %: {quantiles[q]:.4g}" for q in ("0.05", "0.25", "0.5", "0.75", "0.95"))
    return [f"quality (higher = more useful): {shown}"]


def by_quality(table: str) -> str:
    """The lines that show how to look at a table of qualities, worst first, and how to filter by it."""
    output = table.removesuffix("/quality")
    filtering = f"{runnable('filter_dataset')} --quality {shlex.quote(output)} --drop-worst 0.05 --dry-run"
    return "\n".join(
        [
            show_line(table, ["key", "label", "quality", "status"], ".sort_values('quality')"),
            f"then: {filtering}   # what would be dropped; docs/curation.md",
        ]
    )


def show_line(table: str, columns: Sequence[str], order: str = "") -> str:
    """The line that prints columns of a table."""
    code = f"import pandas as pd; print(pd.read_parquet({table!r}, columns={list(columns)!r}){order})"
    plain = not set(code) & set('"$`\\!')
    return f"next: {python()} -c " + (f'"{code}"' if plain else shlex.quote(code))
