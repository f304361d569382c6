"""What filter_dataset does once its command line is read."""

import argparse
import logging
import math
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions

from fiqa_core import storage
from fiqa_core.curation.decisions import filter_run as filter_output
from fiqa_core.curation.decisions.apply_policy import Resources, Tables, apply_policy, check_tables
from fiqa_core.curation.decisions.database import Findings
from fiqa_core.curation.decisions.decision_files import DECISIONS
from fiqa_core.curation.decisions.filter_run import Writing
from fiqa_core.curation.decisions.policy import Policy
from fiqa_core.curation.decisions.rules import check_needs
from fiqa_core.curation.dropped.plan import check_dropped_source
from fiqa_core.curation.findings.earlier_findings import refuse_unfinished
from fiqa_core.curation.findings.search import Search, search_digest
from fiqa_core.curation.subset.plan import check_source
from fiqa_core.curation.subset.settings import SubsetSettings, is_subset, keeps_samples
from fiqa_core.runs.lock import hold_output
from fiqa_core.tables.embedding_files import EmbeddingSource
from fiqa_core.tables.quality_files import TableError
from fiqa_core.wording import counted
from pipelines.cli.errors import OptionError
from pipelines.cli.exit_codes import EXIT_INCOMPLETE, EXIT_OK
from pipelines.cli.filter_options import OWN_COLUMN, refuse_contradictions
from pipelines.cli.filter_report import print_account, print_end
from pipelines.cli.parser import Parser
from pipelines.cli.policy_options import policy_of
from pipelines.jobs import dropped_job, findings_job, subset_job
from pipelines.jobs.filter_settings import search_settings, writing_of
from pipelines.jobs.filter_tables import read_embedding_source, read_tables
from pipelines.runners import dataflow
from pipelines.runners.beam_options import command_options, is_in_process, refuse_memory

_log = logging.getLogger("filter_dataset")


def run(arguments: argparse.Namespace, rest: Sequence[str], parser: Parser, stage: bool = False) -> int:
    """Filter; `rest`: Beam's options.

    `stage`: as a step of another command, which prints the account and says what comes next. With --overwrite, findings
    of the same search are used again.
    """
    options = command_options(arguments, rest, parser)
    refuse_contradictions(arguments)
    policy = policy_of(arguments)
    writing = writing_of(arguments)
    _check_places(arguments, options)
    tables = _tables(arguments)
    source, tables = read_embedding_source(arguments, tables)
    check_tables(policy, tables)
    search = _search(arguments, policy, tables, source)
    if search is None and tables.own_rows:
        check_needs(policy, tables.findings, bool(tables.against))
    if arguments.dry_run:
        with tempfile.TemporaryDirectory(prefix="fiqa-") as folder:
            tables, found = _find(search, tables, folder, options)
            summary = apply_policy(policy, tables, _resources(arguments, Path(folder))) | {"findings": found}
        print_account(arguments, summary)
        print_end(arguments, summary)
        return EXIT_OK
    if is_subset(writing.what):
        refuse_two_kinds_of_labels(tables, policy, writing)
        check_source(tables.own, _subset_settings(writing, arguments))
    if arguments.write_dropped:
        check_dropped_source(tables.own, arguments.moved)
    output = storage.absolute(arguments.output)
    with hold_output(output):
        return _run_on(output, arguments, options, policy, tables, search, writing, stage)


def _run_on(
    output: str,
    arguments: argparse.Namespace,
    options: PipelineOptions,
    policy: Policy,
    tables: Tables,
    search: Search | None,
    writing: Writing,
    stage: bool,
) -> int:
    filter_output.prepare_output(output, arguments.resume, arguments.overwrite)
    digest = search_digest(search) if search is not None else ""
    described = filter_output.describe_run(
        policy, tables.own, tables.against, tables.findings, digest, writing, tables.review, _of_groups(tables)
    )
    finished = filter_output.begin(output, described, arguments.overwrite, tables.review, keep_findings=stage)
    if finished is not None and not is_subset(writing.what) and not arguments.write_dropped:
        _log.info("the run in %s is complete already: nothing to do", arguments.output)
        if not stage:
            print_account(arguments, finished)
            print_end(arguments, finished)
        return EXIT_OK
    tables, found = _find(search, tables, output, options)
    with storage.temporary_folder_for(output) as folder:
        summary = apply_policy(
            policy,
            tables,
            _resources(arguments, folder),
            output,
            described,
            None if stage else lambda decided: print_account(arguments, decided | {"findings": found}),
        )
    summary |= {"complete": True, "policy": policy.to_dict(), "decisions_run": described.digest(), "findings": found}
    if is_subset(writing.what):
        settings = _subset_settings(writing, arguments)
        report = subset_job.write_subset(
            tables.own, storage.join(output, DECISIONS), settings, output, options, resume=not arguments.overwrite
        )
        summary |= {"subset": report, "complete": report["complete"] and report["images"] == summary["kept"]}
    if arguments.write_dropped:
        report = dropped_job.write_dropped(
            tables.own,
            storage.join(output, DECISIONS),
            arguments.moved,
            output,
            options,
            resume=not arguments.overwrite,
        )
        summary |= {"dropped_images": report, "complete": summary["complete"] and report["complete"]}
    filter_output.finish(output, summary)
    if not stage:
        print_end(arguments, summary)
    return EXIT_OK if summary["complete"] else EXIT_INCOMPLETE


def refuse_two_kinds_of_labels(tables: Tables, policy: Policy, writing: Writing) -> None:
    """Refuse to write images without a label from --labels beside others: a WebDataset sample keeps the label that is
    stored with it, so the output would have labels of two kinds."""
    without = next((part.labels.without for part in tables.own if part.labels is not None), 0)
    if without and keeps_samples(writing.what) and not (writing.relabel or policy.labels.drop_missing):
        raise OptionError(
            f"--labels: {counted(without, 'row has', 'rows have')} no label there, and their images would keep the "
            "labels that are stored with them. Leave them out (--drop-unlabelled), or number the labels (--relabel)."
        )


def _of_groups(tables: Tables) -> tuple[str, ...]:
    return () if tables.groups is None else tables.groups.identity


def _subset_settings(writing: Writing, arguments: argparse.Namespace) -> SubsetSettings:
    return SubsetSettings(
        writing.what, writing.shard_size, writing.relabel, tuple(arguments.moved), writing.recordio_layout
    )


def _check_places(arguments: argparse.Namespace, options: PipelineOptions) -> None:
    """Whether the workers can reach what they will be asked to open."""
    places = {"--quality": arguments.quality, "--against": arguments.against}
    places["--output"] = [arguments.output] if arguments.output else []
    places["--embeddings"] = [uri for uri in arguments.embeddings if uri != OWN_COLUMN]
    places["--embedding-keys"] = [arguments.embedding_keys] if arguments.embedding_keys else []
    places["--moved"] = [now for _, now in arguments.moved]
    dataflow.prepare(options, None, "cpu", False, places)
    if dataflow.is_dataflow(options) and arguments.dry_run:
        raise OptionError("--dry-run works on this machine: leave out --runner DataflowRunner")
    if not is_in_process(options):
        refuse_memory([uri for named in places.values() for uri in named])


def _tables(arguments: argparse.Namespace) -> Tables:
    tables = replace(read_tables(arguments), findings=_findings(arguments.findings))
    shown = f" and {tables.all_rows - tables.own_rows:,} of --against" if tables.against else ""
    _log.info("%s in %s%s", counted(tables.own_rows, "row"), counted(len(tables.own), "file"), shown)
    return tables


def _search(
    arguments: argparse.Namespace, policy: Policy, tables: Tables, source: EmbeddingSource | None
) -> Search | None:
    """The search for label noise and near duplicates that the policy needs or the embeddings allow; its output is
    not known yet."""
    if policy.needs_overlap_pairs() and not tables.against:
        raise OptionError("the policy looks for near pairs in another dataset (overlap: near); name it by --against")
    settings = search_settings(arguments, policy, source is not None)
    if settings is None or not tables.own_rows:
        return None
    uses_embeddings = settings.labels is not None or (settings.near is not None and settings.near.by != "phash")
    return Search((*tables.own, *tables.against), tables.own_rows, source if uses_embeddings else None, settings, "")


def _find(
    search: Search | None, tables: Tables, workspace: str, options: PipelineOptions
) -> tuple[Tables, dict[str, Any]]:
    """The tables with what a search found out about their rows, and its counts for the summary."""
    if search is None:
        return tables, {}
    found = findings_job.find(search.parts, search.own, search.source, search.settings, workspace, options)
    thresholds = asdict(found.thresholds) if found.thresholds is not None else {}
    known = {name: value if math.isfinite(value) else None for name, value in thresholds.items()}
    counts = {"counts": dict(found.counts), "thresholds": known}
    return replace(tables, findings=Findings(found.labels, found.pairs)), counts


def _findings(folder: str | None) -> Findings:
    if folder is None:
        return Findings()
    names = storage.list_names(folder)
    if not names:
        raise TableError(f"{folder}: no such folder, or nothing in it. Expected labels-*.parquet and pairs-*.parquet.")
    found = {
        kind: tuple(storage.join(folder, n) for n in names if n.startswith(f"{kind}-") and n.endswith(".parquet"))
        for kind in ("labels", "pairs")
    }
    if not any(found.values()):
        raise TableError(f"{folder}: holds no findings. Expected labels-*.parquet and pairs-*.parquet.")
    refuse_unfinished(storage.absolute(folder), names)
    return replace(Findings(), **found)


def _resources(arguments: argparse.Namespace, folder: Path) -> Resources:
    return Resources(folder, arguments.memory_mb << 20, arguments.threads or 0)
