"""Embed every image of a sharded face dataset with a face recognition network: shards -> Parquet table."""

import argparse
import functools
import logging
import sys
from collections.abc import Sequence

from pipelines.cli import network_options, table_options
from pipelines.cli.align_options import add_align_options
from pipelines.cli.command import (
    EXIT_BAD_INPUT,
    EXIT_INCOMPLETE,
    EXIT_INTERRUPTED,
    EXIT_OK,
    Body,
    positive,
    run_command,
)
from pipelines.cli.dataflow_options import add_dataflow_options
from pipelines.cli.parser import Parser
from pipelines.cli.precision_options import add_precision_options

__all__ = ["EXIT_BAD_INPUT", "EXIT_INCOMPLETE", "EXIT_INTERRUPTED", "EXIT_OK", "run"]

_log = logging.getLogger("embed_dataset")


def run(argv: Sequence[str] | None = None, passing: bool = False) -> int:
    """Run the command; returns its exit code (0 only if every record is accounted for).

    Args:
        argv: command line without the program's name; None for `sys.argv`.
        passing: the table is removed when the caller ends, so no next step is printed for it.
    """
    parser = make_parser()
    return run_command(parser, argv, _log, lambda: _load(parser, passing))


def embed(argv: Sequence[str]) -> int:
    """Embed within another command, which prints errors itself and loses the table when it ends; the exit code.

    Raises:
        FiqaError: the images were not embedded.
    """
    parser = make_parser()
    arguments, rest = parser.parse_known_args(argv)
    return _load(parser, passing=True)(arguments, rest)


def _load(parser: Parser, passing: bool) -> Body:
    from pipelines.jobs import embed_job

    return functools.partial(embed_job.run, parser=parser, passing=passing)


def make_parser() -> Parser:
    """Every option of the command but Beam's own."""
    parser = Parser(
        "embed_dataset",
        "Embed every image of a sharded face dataset with a face recognition network; write a Parquet table with the "
        "columns of fiqa score's.",
        [
            "--input 'shards/*.tar' --output embeddings --model recognition.onnx",
            "--input faces/ --output scores --model quality.onnx --output-kind quality --onnx-mean 128 --onnx-std 128",
        ],
        table_options.NOTES,
        network_options.RENAMED,
        usual=(
            *("--model", "--network", "--output-kind", "--onnx-color", "--onnx-mean", "--onnx-std"),
            "--device",
            *(option for option in table_options.USUAL if option != "--measures"),
        ),
    )
    table_options.add_data_options(parser)
    network = parser.add_argument_group("network")
    network_options.add_model_option(
        network,
        "the network: an .onnx file; or a checkpoint (.pt, .pth, .safetensors), or a folder with one (default: the "
        "file of --network)",
        required=False,
    )
    network_options.add_network_option(network)
    network_options.add_embedding_type(
        network, ("float16", "float32"), "float32", "numbers that embeddings are stored as"
    )
    network.add_argument(
        "--flip",
        action="store_true",
        help="after the embedding of the image write that of its mirror image: twice as many numbers",
    )
    network_options.add_checkpoint_options(
        network, "vit_s, vit_t, vit_b, iresnet50, iresnet100", ("token", "full", "crfiqa", "fr")
    )
    table_options.add_heads_option(network)
    table_options.add_calibration_option(network)
    _add_onnx_options(parser)
    table_options.add_image_options(parser)
    add_align_options(parser)
    speed = table_options.add_speed_options(
        parser, "images a forward pass (default: 8 on a CPU, 256 on a GPU; ONNX: 16 and 128)"
    )
    add_precision_options(speed)
    add_dataflow_options(parser)
    table_options.add_trial_options(parser)
    table_options.add_running_options(parser)
    return parser


def _add_onnx_options(parser: Parser) -> None:
    onnx = parser.add_argument_group(
        "ONNX networks",
        "Layout, size, batch and output are read from the file. Colour order, mean and std are not in it: give them as "
        "the network's authors do.",
    )
    onnx.add_argument(
        "--onnx-layout", choices=("nchw", "nhwc"), help="order of the input's axes (default: read from the file)"
    )
    onnx.add_argument(
        "--onnx-size",
        type=positive,
        metavar="PIXELS",
        help="side of the input (default: read from the file, 112 where it leaves it open)",
    )
    onnx.add_argument("--onnx-color", choices=("rgb", "bgr"), help="order of the channels (default: rgb)")
    onnx.add_argument(
        "--onnx-mean",
        type=_per_channel,
        metavar="X[,X,X]",
        help="the network is fed (x - mean) / std, where x is 0 to 255 (default: 127.5)",
    )
    onnx.add_argument("--onnx-std", type=_per_channel, metavar="X[,X,X]", help="see --onnx-mean (default: 127.5)")
    onnx.add_argument("--onnx-output", metavar="NAME", help="the output to read (default: the only one)")
    onnx.add_argument(
        "--onnx-batch", type=positive, metavar="IMAGES", help="exact images a call (default: read from the file)"
    )
    onnx.add_argument(
        "--output-kind",
        choices=("embedding", "quality", "norm"),
        default="embedding",
        help="quality: the output is one number an image, higher = more useful, for the column quality; norm: the "
        "length of the embedding is the quality",
    )


def _per_channel(text: str) -> tuple[float, ...]:
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) not in (1, 3):
        raise argparse.ArgumentTypeError(f"expected one number, or three with commas between them, found {text!r}")
    return values


if __name__ == "__main__":
    sys.exit(run())
