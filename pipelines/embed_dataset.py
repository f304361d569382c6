"""Embed every image of a sharded face dataset with a face recognition network: shards -> Parquet table."""

import argparse
import functools
import logging
import sys
from collections.abc import Sequence

from apache_beam.options.pipeline_options import PipelineOptions

from fiqa_core import storage
from fiqa_core.devices import resolve_device
from fiqa_core.networks.checkpoints import load_checkpoint
from fiqa_core.networks.onnx_input import OnnxOptions
from fiqa_core.networks.onnx_network import OnnxNetwork
from fiqa_core.networks.onnx_session import onnx_device, onnxruntime, read_onnx
from fiqa_core.scoring.scorer_sources import OnnxSource
from fiqa_core.scoring.settings import ScoreSettings
from fiqa_core.wording import counted
from pipelines.cli import table_options
from pipelines.cli.command import (
    EXIT_BAD_INPUT,
    EXIT_INCOMPLETE,
    EXIT_INTERRUPTED,
    EXIT_OK,
    Parser,
    positive,
    run_command,
)
from pipelines.cli.precision_options import add_precision_options, settle_precision
from pipelines.jobs.table_job import (
    TableJob,
    by_quality,
    network_threads,
    prepare_workers,
    quality_lines,
    run_table,
    show_line,
)
from pipelines.runners import dataflow
from pipelines.runners.beam_options import OptionError
from transforms.score import CheckpointScorer, ScorerSource

__all__ = ["EXIT_BAD_INPUT", "EXIT_INCOMPLETE", "EXIT_INTERRUPTED", "EXIT_OK", "run"]

_log = logging.getLogger("embed_dataset")

_ONLY_ONNX = ("layout", "size", "color", "mean", "std", "output", "batch")


def run(argv: Sequence[str] | None = None, passing: bool = False) -> int:
    """Run the command; returns its exit code (0 only if every record is accounted for).

    Args:
        argv: command line without the program's name; None for `sys.argv`.
        passing: the table is gone when the caller ends, so nobody is pointed at it.
    """
    return run_command(_parser(), argv, _log, functools.partial(_run, passing=passing))


def _run(arguments: argparse.Namespace, options: PipelineOptions, passing: bool) -> int:
    is_onnx = storage.without_query(arguments.model).lower().endswith(".onnx")
    if is_onnx:
        onnxruntime()  # its absence is said before anything else
    else:
        _refuse_onnx_options(arguments)
    workers = prepare_workers(
        arguments, options, {"--model": arguments.model}, onnx_device if is_onnx else resolve_device
    )
    settings = _onnx_settings(arguments) if is_onnx else _checkpoint_settings(arguments, options, workers.device)
    make: type[OnnxSource] | type[CheckpointScorer] = OnnxSource if is_onnx else CheckpointScorer
    threads = arguments.threads or workers.threads or network_threads(options, arguments)
    model = storage.absolute(arguments.model)
    source: ScorerSource = make(model, settings, workers.device, arguments.batch_size, threads, workers.gpus)
    next_line = functools.partial(_by_embedding, settings) if settings.embedding_dim else by_quality
    shown = None if passing else next_line
    return run_table(TableJob(arguments, options, settings, source, workers, _log, quality_lines, shown))


def _onnx_settings(arguments: argparse.Namespace) -> ScoreSettings:
    if arguments.precision not in ("auto", "fp32"):
        raise OptionError(f"--precision {arguments.precision} is for checkpoints; an ONNX file has its own precision")
    if arguments.compile == "on":
        raise OptionError("--compile on is for checkpoints; onnxruntime runs an ONNX file as it is")
    if arguments.heads is not None:
        raise OptionError("--heads is for checkpoints; an ONNX file holds its whole network")
    given = {name: getattr(arguments, f"onnx_{name}") for name in _ONLY_ONNX}
    chosen = {name: value for name, value in given.items() if value is not None}
    # On this machine's CPU, whatever the workers have: the same file gives the same facts.
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
        embeddings="none" if is_quality else arguments.embeddings,
        min_side=arguments.min_side,
        read=table_options.read_settings(arguments),
        flip=arguments.flip,
        onnx=found,
        phash=arguments.phash,
    )


def _assumed(chosen: dict[str, object]) -> str:
    """What no file says and nobody said."""
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
        embeddings=arguments.embeddings,
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
            f"{', '.join(given)}: for ONNX networks, and --model {arguments.model} is taken for a checkpoint (its name "
            "does not end in .onnx)"
        )


def _by_embedding(settings: ScoreSettings, table: str) -> str:
    return (
        f"embeddings: {counted(settings.embedding_dim, 'number')}, {settings.embeddings}, not normalised\n"
        + show_line(table, ["key", "label", "embedding"])
    )


def _numbers(values: tuple[float, ...]) -> str:
    return ",".join(f"{value:g}" for value in values)


def _per_channel(text: str) -> tuple[float, ...]:
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) not in (1, 3):
        raise argparse.ArgumentTypeError(f"expected one number, or three with commas between them, found {text!r}")
    return values


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m pipelines.embed_dataset",
        description="Embed every image of a sharded face dataset with a face recognition network; write a Parquet "
        "table with the columns of score_dataset's.",
        epilog=table_options.EPILOG,
    )
    table_options.add_data_options(parser)
    network = parser.add_argument_group("network")
    network.add_argument(
        "--model", required=True, metavar="URI", help="an .onnx file, or a checkpoint as score_dataset takes it"
    )
    network.add_argument("--embeddings", choices=("float16", "float32"), default="float32", help="(default float32)")
    network.add_argument(
        "--flip", action="store_true", help="embedding of the image, then that of its mirror image: 2D numbers"
    )
    network.add_argument("--arch", metavar="NAME", help="of a checkpoint (default: recognised)")
    network.add_argument("--mode", choices=("token", "full", "crfiqa", "fr"), help="of a checkpoint (recognised)")
    table_options.add_heads_option(network)
    _add_onnx_options(parser)
    table_options.add_image_options(parser)
    speed = table_options.add_speed_options(parser, "images a forward pass (8 CPU, 256 GPU; ONNX: 16 CPU, 128 GPU)")
    add_precision_options(speed)
    dataflow.add_arguments(parser)
    table_options.add_running_options(parser)
    return parser


def _add_onnx_options(parser: argparse.ArgumentParser) -> None:
    onnx = parser.add_argument_group(
        "ONNX networks",
        "layout, size, batch and output are recognised from the file, the others are not in it: say them as the "
        "network's authors do",
    )
    onnx.add_argument("--onnx-layout", choices=("nchw", "nhwc"), help="order of the input's axes (recognised)")
    onnx.add_argument("--onnx-size", type=positive, metavar="PIXELS", help="input side (recognised, 112)")
    onnx.add_argument("--onnx-color", choices=("rgb", "bgr"), help="order of the channels (default rgb)")
    onnx.add_argument(
        "--onnx-mean", type=_per_channel, metavar="X[,X,X]", help="input is (x - mean) / std of x in 0..255 (127.5)"
    )
    onnx.add_argument("--onnx-std", type=_per_channel, metavar="X[,X,X]", help="(127.5)")
    onnx.add_argument("--onnx-output", metavar="NAME", help="output to read (default: the only one)")
    onnx.add_argument("--onnx-batch", type=positive, metavar="N", help="exact images a call (recognised)")
    onnx.add_argument(
        "--output-kind",
        choices=("embedding", "quality"),
        default="embedding",
        help="quality: the output is one number an image, higher = more useful, for the column quality",
    )


if __name__ == "__main__":
    sys.exit(run())
