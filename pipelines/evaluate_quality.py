"""Show that scores mean something: quality + face recognition embeddings + pairs -> error-versus-discard curves."""

import argparse
import logging
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fiqa_core import storage
from fiqa_core.evaluation.errors import EvaluationError
from fiqa_core.evaluation.evaluate import EvaluationOptions, evaluate
from fiqa_core.evaluation.evaluation_run import finished_files, prepare_output, publish_all
from fiqa_core.evaluation.inputs import input_digests
from fiqa_core.evaluation.named import parse_named
from fiqa_core.evaluation.plots import require_matplotlib
from fiqa_core.evaluation.study import StudySettings
from fiqa_core.runs.lock import hold_output
from pipelines.cli import evaluation_report as words
from pipelines.cli.command import EXIT_BAD_INPUT, EXIT_INTERRUPTED, EXIT_OK, Body, run_command
from pipelines.cli.errors import OptionError
from pipelines.cli.evaluation_options import check, parser
from pipelines.cli.log_format import report
from pipelines.cli.parser import nearest
from pipelines.jobs.evaluation_sources import Sources, is_network
from schemas import versions

__all__ = ["EXIT_BAD_INPUT", "EXIT_INTERRUPTED", "EXIT_OK", "run"]

_log = logging.getLogger("evaluate_quality")
_NOT_COMPARED = ("output", "overwrite", "resume")


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    options = parser()

    def load() -> Body:
        def start(arguments: argparse.Namespace, rest: Sequence[str]) -> int:
            _refuse_unknown(arguments, rest, options.proposals())
            return _run(arguments, rest)

        return start

    return run_command(options, argv, _log, load, "interrupted; nothing was written")


def _refuse_unknown(arguments: argparse.Namespace, rest: Sequence[str], proposals: Mapping[str, str]) -> None:
    """Refuse options that neither this command nor embed_dataset nor Beam knows, before anything is read."""
    if not rest:
        return
    networks = [entry.path for entry in parse_named(arguments.embeddings, "--embeddings") if is_network(entry.path)]
    if not networks:
        meant = nearest(rest[0], proposals)
        hint = f" Did you mean {meant}?" if meant else ""
        raise OptionError(
            f"not an option: {' '.join(rest)}.{hint} (Options of fiqa embed go with a network in --embeddings, and "
            "there is none.)"
        )
    from pipelines.embed_dataset import make_parser

    embedding = make_parser()
    needed = ["--model", networks[0], "--input", "images", "--output", "table"]
    strangers = embedding.parse_known_args([*needed, *rest])[1]
    if strangers:
        from pipelines.runners.known_options import refuse_unknown  # with Beam, whose options they may be

        refuse_unknown(strangers, {**embedding.proposals(), **proposals})


def _run(arguments: argparse.Namespace, embed_options: Sequence[str]) -> int:
    if not arguments.no_plots:
        require_matplotlib()
    output = storage.absolute(arguments.output)
    if storage.stat(output) is not None and not storage.is_folder(output):
        raise EvaluationError(f"--output {arguments.output}: is a file; the results are a folder")
    arguments.fmr = list(dict.fromkeys(arguments.fmr))
    check(arguments, parse_named(arguments.pairs, "--pairs"))
    with hold_output(output), tempfile.TemporaryDirectory() as workspace:
        prepare_output(output, arguments.resume, arguments.overwrite)
        settings = _settings(arguments, embed_options)
        finished = finished_files(output, settings) if arguments.resume else None
        if finished is not None:
            _log.info("the evaluation in %s is complete already: nothing to do", arguments.output)
            report([f"written: {arguments.output} ({', '.join(finished)})"])
            return EXIT_OK
        sources = Sources(Path(workspace), _embed, embed_options, arguments.allow_incomplete)
        found = evaluate(_options(arguments), sources, Path(workspace))
        publish_all(output, found.files, _account(settings, found.datasets))
    lines = words.areas(found.datasets, found.areas) + words.differences(found.differences)
    lines += words.groups(found.groups)
    lines += words.poor_images(found.voters, found.poor_images) + words.thresholds(found.thresholds)
    lines += words.without_threshold(found.without_threshold)
    report([*lines, f"written: {arguments.output} ({', '.join(sorted(found.files))})"])
    return EXIT_OK


def _options(arguments: argparse.Namespace) -> EvaluationOptions:
    study = StudySettings(
        tuple(arguments.protocol),
        tuple(arguments.fmr),
        arguments.allow_unmeasurable,
        arguments.bootstrap,
        arguments.random_seeds,
        arguments.seed,
    )
    return EvaluationOptions(
        arguments.pairs,
        arguments.quality,
        arguments.embeddings,
        arguments.flipped,
        arguments.images,
        arguments.templates,
        arguments.labels,
        arguments.labels_key,
        arguments.labels_column,
        arguments.cost_on,
        arguments.embedding_norm,
        arguments.lower_is_better,
        arguments.unscored,
        arguments.dissimilarity,
        study,
        arguments.against_measure,
        plots=not arguments.no_plots,
        recommend=arguments.recommend,
        target_fnmr=arguments.target_fnmr,
        group_by=arguments.group_by,
        group_key=arguments.group_key,
        group_column=arguments.group_column,
    )


def _settings(arguments: argparse.Namespace, embed_options: Sequence[str]) -> dict[str, Any]:
    """What `--resume` compares: the options, and what their files hold. Images to embed are taken by their name."""
    given = {name: value for name, value in sorted(vars(arguments).items()) if name not in _NOT_COMPARED}
    named = ("pairs", "quality", "embeddings", "flipped", "templates", "labels", "group_by", "cost_on")
    inputs = input_digests([text for name in named for text in given[name]])
    settings = {"arguments": given, "inputs": inputs}
    uses_network = any(is_network(path) for path in arguments.embeddings)
    return settings | ({"embed_dataset": list(embed_options)} if uses_network else {})


def _account(settings: dict[str, Any], datasets: list[dict[str, Any]]) -> dict[str, Any]:
    return {"package_version": versions.PACKAGE_VERSION, "datasets": datasets, **settings}


def _embed(flags: Sequence[str]) -> int:
    """Run embed_dataset for a network among the embeddings; its exit code, or the error that it ended with."""
    # Only here: tables need neither Beam nor torch, which take seconds to load.
    from pipelines import embed_dataset

    return embed_dataset.embed(flags)


if __name__ == "__main__":
    sys.exit(run())
