"""Score every image of a sharded face dataset: shards -> Parquet quality table."""

import argparse
import functools
import logging
import sys
from collections.abc import Sequence

from apache_beam.options.pipeline_options import PipelineOptions

from fiqa_core import storage
from fiqa_core.devices import resolve_device
from fiqa_core.models import EMBEDDED, NOTICE
from fiqa_core.networks.checkpoints import LoadedNetwork, load_checkpoint, require_quality
from fiqa_core.scoring.settings import ScoreSettings
from pipelines.cli import table_options
from pipelines.cli.command import (
    EXIT_BAD_INPUT,
    EXIT_INCOMPLETE,
    EXIT_INTERRUPTED,
    EXIT_OK,
    Parser,
    named,
    run_command,
)
from pipelines.cli.log_format import Lines
from pipelines.cli.precision_options import add_precision_options, settle_precision
from pipelines.jobs.table_job import (
    TableJob,
    by_quality,
    network_threads,
    prepare_workers,
    quality_lines,
    run_table,
)
from pipelines.runners import dataflow
from transforms.score import CheckpointScorer, ScorerSource

__all__ = ["EXIT_BAD_INPUT", "EXIT_INCOMPLETE", "EXIT_INTERRUPTED", "EXIT_OK", "run"]

_log = logging.getLogger("score_dataset")


def run(argv: Sequence[str] | None = None, scorer_source: ScorerSource | None = None) -> int:
    """Run the command; returns its exit code (0 only if every record is accounted for).

    Args:
        argv: command line without the program's name; None for `sys.argv`.
        scorer_source: instead of a network from --checkpoint (benchmarks use a no-op).
    """
    return run_command(_parser(), argv, _log, functools.partial(_run, source=scorer_source))


def _run(arguments: argparse.Namespace, options: PipelineOptions, source: ScorerSource | None) -> int:
    network = {} if arguments.checkpoint is None else {"--checkpoint": arguments.checkpoint}
    workers = prepare_workers(arguments, options, network, resolve_device)
    settings = _settings(arguments, options, workers.device, source)
    if source is None:
        threads = arguments.threads or workers.threads or network_threads(options, arguments)
        checkpoint = EMBEDDED if arguments.checkpoint is None else storage.absolute(arguments.checkpoint)
        source = CheckpointScorer(checkpoint, settings, workers.device, arguments.batch_size, threads, workers.gpus)
    return run_table(TableJob(arguments, options, settings, source, workers, _log, quality_lines, by_quality))


def _settings(
    arguments: argparse.Namespace, options: PipelineOptions, device: str, source: ScorerSource | None
) -> ScoreSettings:
    loaded = None if source is not None else _loaded(arguments)
    precision = settle_precision(arguments, options, device if loaded else "cpu", loaded.arch if loaded else "")
    choices = {
        "precision": precision,
        "channel_order": arguments.channel_order,
        "embeddings": arguments.embeddings,
        "min_side": arguments.min_side,
        "read": table_options.read_settings(arguments),
        "phash": arguments.phash,
        "batch_size": table_options.batch_setting(arguments),
    }
    if loaded is None:
        return ScoreSettings(getattr(source, "name", "none"), "none", "0" * 64, **choices)
    dim = loaded.embedding_dim if arguments.embeddings != "none" else 0
    return ScoreSettings(loaded.arch, loaded.mode, loaded.sha256, dim, **choices)


def _loaded(arguments: argparse.Namespace) -> LoadedNetwork:
    embeddings = arguments.embeddings != "none"
    checkpoint = arguments.checkpoint or EMBEDDED
    loaded = load_checkpoint(checkpoint, arguments.arch, arguments.mode, embeddings, arguments.heads)
    require_quality(loaded)
    if loaded.uri == EMBEDDED:
        _log.warning("%s", Lines(NOTICE))
    _log.info("network: %s, mode %s, sha256 %s", loaded.arch, loaded.mode, loaded.sha256[:16])
    return loaded


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m pipelines.score_dataset",
        description="Score every image of a sharded face dataset with ViT-FIQA; write a Parquet quality table.",
        epilog=table_options.EPILOG,
    )
    table_options.add_data_options(parser)
    network = parser.add_argument_group("network")
    network.add_argument(
        "--checkpoint",
        type=named,
        metavar="URI",
        help="model.pt, .pth, .safetensors, or a folder with one (default: the small network of this package)",
    )
    network.add_argument(
        "--arch", metavar="NAME", help="vit_s, vit_t, vit_b, iresnet50, iresnet100 (default: recognised)"
    )
    network.add_argument("--mode", choices=("token", "full", "crfiqa"), help="(default: recognised)")
    table_options.add_heads_option(network)
    network.add_argument("--embeddings", choices=("none", "float16", "float32"), default="none")
    table_options.add_image_options(parser)
    speed = table_options.add_speed_options(parser, "images a forward pass (8 CPU, 256 GPU)")
    add_precision_options(speed)
    dataflow.add_arguments(parser)
    table_options.add_running_options(parser)
    return parser


if __name__ == "__main__":
    sys.exit(run())
