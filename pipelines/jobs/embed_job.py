"""What embed_dataset does once its command line is read."""

import argparse
import dataclasses
import functools
import logging
from collections.abc import Sequence

from apache_beam.options.pipeline_options import PipelineOptions

from fiqa_core import storage
from fiqa_core.devices import resolve_device
from fiqa_core.networks.checkpoints import load_checkpoint
from fiqa_core.networks.onnx_session import onnx_device, onnxruntime
from fiqa_core.scoring.scorer_sources import CheckpointScorer, OnnxSource, ScorerSource
from fiqa_core.scoring.settings import ScoreSettings
from fiqa_core.wording import counted
from pipelines.cli import table_options
from pipelines.cli.errors import OptionError
from pipelines.cli.parser import Parser
from pipelines.jobs.alignment import align_settings, aligner_source
from pipelines.jobs.calibration import calibrated
from pipelines.jobs.named_network import take_network, warn_of_file
from pipelines.jobs.network_settings import settle_precision
from pipelines.jobs.onnx_settings import onnx_settings, refuse_onnx_options
from pipelines.jobs.table_job import (
    TableJob,
    by_quality,
    network_threads,
    prepare_workers,
    quality_lines,
    run_table,
    show_line,
)
from pipelines.runners.beam_options import command_options

_log = logging.getLogger("embed_dataset")


def run(arguments: argparse.Namespace, rest: Sequence[str], parser: Parser, passing: bool) -> int:
    """Embed; `rest`: Beam's options. `passing`: the table is gone when the caller ends."""
    options = command_options(arguments, rest, parser)
    network = take_network(arguments)
    if arguments.model is None:
        raise OptionError("no network: give its file (--model) or a name (--network; fiqa networks lists them)")
    is_onnx = storage.without_query(arguments.model).lower().endswith(".onnx")
    if is_onnx:
        onnxruntime()  # refused here where it is missing, before anything else
    else:
        refuse_onnx_options(arguments)
    workers = prepare_workers(arguments, options, onnx_device if is_onnx else resolve_device)
    aligner = aligner_source(arguments)
    settings = onnx_settings(arguments, _log) if is_onnx else _checkpoint_settings(arguments, options, workers.device)
    settings = dataclasses.replace(settings, align=align_settings(aligner))
    warn_of_file(network, settings.checkpoint_sha256)
    settings = calibrated(settings, arguments.calibration)
    make: type[OnnxSource] | type[CheckpointScorer] = OnnxSource if is_onnx else CheckpointScorer
    threads = arguments.threads or workers.threads or network_threads(options, arguments)
    model = storage.absolute(arguments.model)
    source: ScorerSource = make(model, settings, workers.device, arguments.batch_size, threads, workers.gpus)
    next_line = functools.partial(_embedding_lines, settings) if settings.embedding_dim else by_quality
    shown = None if passing else next_line
    return run_table(TableJob(arguments, options, settings, source, workers, _log, quality_lines, shown, aligner))


def _checkpoint_settings(arguments: argparse.Namespace, options: PipelineOptions, device: str) -> ScoreSettings:
    loaded = load_checkpoint(arguments.model, arguments.arch, arguments.mode, heads=arguments.heads)
    _log.info("network: %s, mode %s, sha256 %s", loaded.arch, loaded.mode, loaded.sha256[:16])
    return ScoreSettings(
        loaded.arch,
        loaded.mode,
        loaded.sha256,
        loaded.embedding_dim * (1 + arguments.flip),
        precision=settle_precision(arguments, options, device, loaded.arch),
        channel_order=arguments.channel_order,
        embeddings=arguments.embedding_type,
        min_side=arguments.min_side,
        read=table_options.read_settings(arguments),
        flip=arguments.flip,
        phash=arguments.phash,
        measures=arguments.measures,
        batch_size=table_options.batch_setting(arguments),
    )


def _embedding_lines(settings: ScoreSettings, table: str) -> str:
    return (
        f"embeddings: {counted(settings.embedding_dim, 'number')}, {settings.embeddings}, not normalised\n"
        + show_line(table, ["key", "label", "embedding"])
    )
