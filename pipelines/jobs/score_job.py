"""What score_dataset does once its command line is read."""

import argparse
import dataclasses
import logging
from collections.abc import Sequence

from apache_beam.options.pipeline_options import PipelineOptions

from fiqa_core import storage
from fiqa_core.devices import resolve_device
from fiqa_core.models import EMBEDDED, NOTICE
from fiqa_core.networks.checkpoints import LoadedNetwork, load_checkpoint, require_quality
from fiqa_core.networks.exits import Exits
from fiqa_core.networks.known import KNOWN, known_network
from fiqa_core.networks.onnx_session import onnx_device, onnxruntime
from fiqa_core.scoring.scorer import exits_of
from fiqa_core.scoring.scorer_sources import CheckpointScorer, OnnxSource, ScorerSource
from fiqa_core.scoring.settings import ScoreSettings
from pipelines.cli import table_options
from pipelines.cli.errors import OptionError
from pipelines.cli.exit_options import AutoExit, exit_policy
from pipelines.cli.log_format import Lines
from pipelines.cli.parser import Parser
from pipelines.jobs.alignment import align_settings, aligner_source
from pipelines.jobs.calibration import calibrated
from pipelines.jobs.named_network import take_network, warn_of_file
from pipelines.jobs.network_settings import settle_precision
from pipelines.jobs.onnx_settings import onnx_settings
from pipelines.jobs.table_job import (
    TableJob,
    by_quality,
    network_threads,
    prepare_workers,
    quality_lines,
    run_table,
)
from pipelines.runners.beam_options import command_options

_log = logging.getLogger("score_dataset")


def run(
    arguments: argparse.Namespace,
    rest: Sequence[str],
    parser: Parser,
    source: ScorerSource | None,
    stage: bool = False,
) -> int:
    """Score; `rest`: Beam's options. `source`: makes the scorer instead of a network.

    `stage`: as a step of another command, which says itself what comes next.
    """
    options = command_options(arguments, rest, parser)
    exit_policy(arguments)  # what does not go together is refused before anything is read
    network = take_network(arguments)
    is_onnx = network is not None and known_network(network).onnx is not None
    if is_onnx:
        onnxruntime()  # refused here where it is missing, before anything else
    workers = prepare_workers(arguments, options, onnx_device if is_onnx else resolve_device)
    aligner = aligner_source(arguments)
    settings = _onnx(arguments) if is_onnx else _settings(arguments, options, workers.device, source)
    warn_of_file(network, settings.checkpoint_sha256)
    settings = dataclasses.replace(settings, align=align_settings(aligner))
    settings = calibrated(settings, arguments.calibration)
    if source is None:
        threads = arguments.threads or workers.threads or network_threads(options, arguments)
        model = EMBEDDED if arguments.model is None else storage.absolute(arguments.model)
        make: type[OnnxSource] | type[CheckpointScorer] = OnnxSource if is_onnx else CheckpointScorer
        source = make(model, settings, workers.device, arguments.batch_size, threads, workers.gpus)
    next_line = None if stage else by_quality
    return run_table(TableJob(arguments, options, settings, source, workers, _log, quality_lines, next_line, aligner))


def _onnx(arguments: argparse.Namespace) -> ScoreSettings:
    """The settings of a run with a known network in an ONNX file."""
    if arguments.output_kind == "embedding":
        known = f"{arguments.network}-norm"
        hint = f"; its length is a quality: --network {known}" if known in KNOWN else ""
        raise OptionError(f"--network {arguments.network} gives embeddings: embed with it (fiqa embed){hint}")
    asked = {
        "--exit": arguments.exit is not None,
        "--fuse": arguments.fuse != "none",
        "--embedding-type": arguments.embedding_type != "none",
        "--arch": arguments.arch is not None,
        "--mode": arguments.mode is not None,
    }
    given = [option for option, is_given in asked.items() if is_given]
    if given:
        raise OptionError(f"{', '.join(given)}: for checkpoints, and --network {arguments.network} is an ONNX file")
    arguments.flip = False
    return onnx_settings(arguments, _log)


def _settings(
    arguments: argparse.Namespace, options: PipelineOptions, device: str, source: ScorerSource | None
) -> ScoreSettings:
    loaded = None if source is not None else _loaded(arguments)
    precision = settle_precision(arguments, options, device if loaded else "cpu", loaded.arch if loaded else "")
    choices = {
        "precision": precision,
        "channel_order": arguments.channel_order,
        "embeddings": arguments.embedding_type,
        "min_side": arguments.min_side,
        "read": table_options.read_settings(arguments),
        "phash": arguments.phash,
        "measures": arguments.measures,
        "batch_size": table_options.batch_setting(arguments),
    }
    if loaded is None:
        return ScoreSettings(getattr(source, "name", "none"), "none", "0" * 64, **choices)
    dim = loaded.embedding_dim if arguments.embedding_type != "none" else 0
    exits = exits_of(loaded, _asked_exits(arguments))
    return ScoreSettings(loaded.arch, loaded.mode, loaded.sha256, dim, exit=exits.exit, fuse=exits.fuse, **choices)


def _asked_exits(arguments: argparse.Namespace) -> Exits:
    """The exits of the command line; the first one where `auto` will find it, so that a network without is refused."""
    if isinstance(arguments.exit, AutoExit):
        return Exits(1)
    return Exits(arguments.exit or 0, arguments.fuse)


def _loaded(arguments: argparse.Namespace) -> LoadedNetwork:
    embeddings = arguments.embedding_type != "none"
    model = arguments.model or EMBEDDED
    loaded = load_checkpoint(model, arguments.arch, arguments.mode, embeddings, arguments.heads)
    require_quality(loaded)
    if loaded.uri == EMBEDDED and not arguments.dry_run:  # a dry run scores nothing
        _log.warning("%s", Lines(NOTICE))
    _log.info("network: %s, mode %s, sha256 %s", loaded.arch, loaded.mode, loaded.sha256[:16])
    return loaded
