"""Score every image of a sharded face dataset: shards -> Parquet quality table."""

import functools
import logging
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipelines.cli import network_options, table_options
from pipelines.cli.align_options import add_align_options
from pipelines.cli.command import (
    EXIT_BAD_INPUT,
    EXIT_INCOMPLETE,
    EXIT_INTERRUPTED,
    EXIT_OK,
    Body,
    run_command,
)
from pipelines.cli.dataflow_options import add_dataflow_options
from pipelines.cli.exit_options import add_exit_options
from pipelines.cli.label_options import add_group_options
from pipelines.cli.parser import Parser
from pipelines.cli.precision_options import add_precision_options

if TYPE_CHECKING:  # Beam and torch are imported when the job begins
    from fiqa_core.scoring.scorer_sources import ScorerSource

__all__ = ["EXIT_BAD_INPUT", "EXIT_INCOMPLETE", "EXIT_INTERRUPTED", "EXIT_OK", "run"]

_log = logging.getLogger("score_dataset")


def run(argv: Sequence[str] | None = None, scorer_source: "ScorerSource | None" = None) -> int:
    """Run the command; returns its exit code (0 only if every record is accounted for).

    Args:
        argv: command line without the program's name; None for `sys.argv`.
        scorer_source: instead of a network from --model (benchmarks use one that does nothing).
    """
    parser = make_parser()

    def load() -> Body:
        from pipelines.jobs import score_job

        return functools.partial(score_job.run, parser=parser, source=scorer_source)

    return run_command(parser, argv, _log, load)


def make_parser() -> Parser:
    """Every option of the command but Beam's own."""
    parser = Parser(
        "score_dataset",
        "Score every image of a sharded face dataset with ViT-FIQA; write a Parquet quality table, one row a record.",
        ["--input 'shards/*.tar' --output scores --model model.pt", "--input faces/ --output scores --phash --resume"],
        table_options.NOTES,
        network_options.RENAMED,
        usual=("--model", "--network", "--calibration", "--device", "--precision", *table_options.USUAL),
    )
    table_options.add_data_options(parser)
    network = parser.add_argument_group("network")
    network_options.add_model_option(
        network,
        "the network: a .pt, .pth or .safetensors file, or a folder with one (default: the small network of this "
        "package, for demonstration)",
        required=False,
    )
    network_options.add_network_option(network)
    network_options.add_checkpoint_options(
        network, "vit_s, vit_t, vit_b, iresnet50, iresnet100", ("token", "full", "crfiqa")
    )
    table_options.add_heads_option(network)
    add_exit_options(network)
    table_options.add_calibration_option(network)
    network_options.add_embedding_type(
        network, ("none", "float16", "float32"), "none", "also write the network's embeddings, as these numbers"
    )
    table_options.add_image_options(parser)
    add_align_options(parser)
    speed = table_options.add_speed_options(parser, "images a forward pass (default: 8 on a CPU, 256 on a GPU)")
    add_precision_options(speed)
    add_dataflow_options(parser)
    table_options.add_trial_options(parser)
    table_options.add_running_options(parser)
    add_group_options(parser.add_argument_group("summary"), says="at the end how scores fall in each group")
    return parser


if __name__ == "__main__":
    sys.exit(run())
