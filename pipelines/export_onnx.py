"""Write a ViT-FIQA or CR-FIQA checkpoint as an ONNX file with the same scores."""

import argparse
import logging
import sys
from collections.abc import Sequence

from pipelines.cli import network_options, table_options
from pipelines.cli.command import EXIT_OK, Body, named, run_command
from pipelines.cli.errors import OptionError
from pipelines.cli.exit_options import add_fixed_exit_options
from pipelines.cli.log_format import report
from pipelines.cli.parser import Parser

_log = logging.getLogger("export_onnx")


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = make_parser()

    def load() -> Body:
        return _export

    return run_command(parser, argv, _log, load, "interrupted; nothing was written")


def make_parser() -> Parser:
    """Every option of the command."""
    parser = Parser(
        "export_onnx",
        "Write a ViT-FIQA or CR-FIQA checkpoint as an ONNX file: float32 faces (B, 3, 112, 112), RGB, "
        "(x - 127.5) / 127.5 -> quality (B,). Its scores are checked against the checkpoint's, to 1e-5.",
        ["--model model.pt --output model.onnx", "--model model.pt --exit 6 --output half.onnx"],
    )
    network = parser.add_argument_group("network")
    network_options.add_model_option(
        network, "the checkpoint, or a folder with one (default: the small network of this package)", required=False
    )
    network_options.add_checkpoint_options(
        network, "vit_s, vit_t, vit_b, iresnet50, iresnet100", ("token", "full", "crfiqa")
    )
    table_options.add_heads_option(network)
    add_fixed_exit_options(network)
    output = parser.add_argument_group("output")
    output.add_argument("--output", type=named, required=True, metavar="URI", help="the ONNX file")
    output.add_argument("--overwrite", action="store_true", help="replace a file that is there")
    return parser


def _export(arguments: argparse.Namespace, rest: Sequence[str]) -> int:
    from fiqa_core import storage
    from fiqa_core.models import EMBEDDED
    from fiqa_core.networks.checkpoints import load_checkpoint, require_quality
    from fiqa_core.networks.exits import Exits
    from fiqa_core.networks.onnx_export import export_quality
    from fiqa_core.scoring.scorer import exits_of

    if rest:
        raise OptionError(f"not an option: {' '.join(rest)}")
    if not storage.without_query(arguments.output).lower().endswith(".onnx"):
        raise OptionError(f"--output {arguments.output}: expected a name that ends in .onnx, by which it is recognised")
    output = storage.absolute(arguments.output)
    if storage.stat(output) is not None and not arguments.overwrite:
        raise OptionError(f"--output {arguments.output}: is there already. Give another name, or --overwrite.")
    loaded = load_checkpoint(arguments.model or EMBEDDED, arguments.arch, arguments.mode, False, arguments.heads)
    require_quality(loaded)
    exits = exits_of(loaded, Exits(arguments.exit or 0, arguments.fuse))
    data = export_quality(loaded, exits)
    storage.publish_alone(data, output)
    report(
        [
            f"{arguments.output}: {loaded.arch}, mode {loaded.mode}, {len(data):,} bytes; checked: equal to 1e-5",
            f"next: fiqa embed --input 'faces/*.tar' --output scores --model {arguments.output} --output-kind quality "
            "--onnx-color rgb --onnx-mean 127.5 --onnx-std 127.5",
        ]
    )
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(run())
