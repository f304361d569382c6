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
from fiqa_core.networks.onnx_input import OnnxOptions
from fiqa_core.networks.onnx_network import OnnxNetwork
from fiqa_core.networks.onnx_session import onnx_device, onnxruntime, read_onnx
from fiqa_core.scoring.scorer_sources import CheckpointScorer, OnnxSource, ScorerSource
from fiqa_core.scoring.settings import ScoreSettings
from fiqa_core.wording import counted
from pipelines.cli import table_options
from pipelines.cli.errors import OptionError
from pipelines.cli.parser import Parser
from pipelines.jobs.alignment import align_settings, aligner_source
from pipelines.jobs.calibration import calibrated
from pipelines.jobs.network_settings import settle_precision
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

_ONLY_ONNX = ("layout", "size", "color", "mean", "std", "output", "batch")


def run(arguments: argparse.Namespace, rest: Sequence[str], parser: Parser, passing: bool) -> int:
    """Embed; `rest`: Beam's options. `passing`: the table is gone when the caller ends."""
    options = command_options(arguments, rest, parser)
    is_onnx = storage.without_query(arguments.model).lower().endswith(".onnx")
    if is_onnx:
        onnxruntime()  # refused here where it is missing, before anything else
    else:
        _refuse_onnx_options(arguments)
    workers = prepare_workers(arguments, options, onnx_device if is_onnx else resolve_device)
    aligner = aligner_source(arguments)
    settings = _onnx_settings(arguments) if is_onnx else _checkpoint_settings(arguments, options, workers.device)
    settings = dataclasses.replace(settings, align=align_settings(aligner))
    settings = calibrated(settings, arguments.calibration)
    make: type[OnnxSource] | type[CheckpointScorer] = OnnxSource if is_onnx else CheckpointScorer
    threads = arguments.threads or workers.threads or network_threads(options, arguments)
    model = storage.absolute(arguments.model)
    source: ScorerSource = make(model, settings, workers.device, arguments.batch_size, threads, workers.gpus)
    next_line = functools.partial(_embedding_lines, settings) if settings.embedding_dim else by_quality
    shown = None if passing else next_line
    return run_table(TableJob(arguments, options, settings, source, workers, _log, quality_lines, shown, aligner))


def _onnx_settings(arguments: argparse.Namespace) -> ScoreSettings:
    if arguments.precision not in ("auto", "fp32"):
        raise OptionError(f"--precision {arguments.precision} is for checkpoints; an ONNX file has its own precision")
    if arguments.compile == "on":
        raise OptionError("--compile on is for checkpoints; onnxruntime runs an ONNX file as it is")
    if arguments.heads is not None:
        raise OptionError("--heads is for checkpoints; an ONNX file holds its whole network")
    given = {name: getattr(arguments, f"onnx_{name}") for name in _ONLY_ONNX}
    chosen = {name: value for name, value in given.items() if value is not None}
    # On this machine's CPU, whatever the workers have: the same file gives the same description.
    file = read_onnx(arguments.model)
    network = OnnxNetwork(file, OnnxOptions(**chosen, kind=arguments.output_kind))
    found = network.input
    if arguments.flip and found.kind == "quality":
        raise OptionError("--flip is for embeddings, not for --output-kind quality")
    _log.info(
        "network: ONNX, %s an image from output %r (%s), sha256 %s",
        counted(network.dim, "number"),
        found.output,
        found.kind,
        file.sha256[:16],
    )
    _log.info(
        "fed with: %s, %s, %dx%d pixels, (x - %s) / %s, %s a call%s",
        found.layout,
        found.color.upper(),
        found.size,
        found.size,
        _numbers(found.mean),
        _numbers(found.std),
        counted(found.batch, "image") if found.batch else "any number of images",
        _assumed(chosen),
    )
    is_quality = found.kind == "quality"
    return ScoreSettings(
        "onnx",
        found.kind,
        file.sha256,
        0 if is_quality else network.dim * (1 + arguments.flip),
        channel_order=arguments.channel_order,
        embeddings="none" if is_quality else arguments.embedding_type,
        min_side=arguments.min_side,
        read=table_options.read_settings(arguments),
        flip=arguments.flip,
        onnx=found,
        phash=arguments.phash,
    )


def _assumed(chosen: dict[str, object]) -> str:
    """The settings that are neither in the file nor given, as a text for the log."""
    names = [f"--onnx-{name}" for name in ("color", "mean", "std") if name not in chosen]
    return f" ({', '.join(names)}: our default, not in the file; check it)" if names else ""


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
        batch_size=table_options.batch_setting(arguments),
    )


def _refuse_onnx_options(arguments: argparse.Namespace) -> None:
    given = [f"--onnx-{name}" for name in _ONLY_ONNX if getattr(arguments, f"onnx_{name}") is not None]
    given += ["--output-kind quality"] if arguments.output_kind == "quality" else []
    if given:
        raise OptionError(
            f"{', '.join(given)}: for ONNX networks, and --model {arguments.model} is read as a checkpoint (its name "
            "does not end in .onnx)"
        )


def _embedding_lines(settings: ScoreSettings, table: str) -> str:
    return (
        f"embeddings: {counted(settings.embedding_dim, 'number')}, {settings.embeddings}, not normalised\n"
        + show_line(table, ["key", "label", "embedding"])
    )


def _numbers(values: tuple[float, ...]) -> str:
    return ",".join(f"{value:g}" for value in values)
