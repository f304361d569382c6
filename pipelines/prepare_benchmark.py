"""A benchmark as its makers give it -> a dataset folder of the original's layout, with images and pairs."""

import logging
import sys
from collections.abc import Sequence

from pipelines.cli.command import EXIT_BAD_INPUT, EXIT_OK, Body, named, run_command
from pipelines.cli.parser import Parser

__all__ = ["EXIT_BAD_INPUT", "EXIT_OK", "run"]

_log = logging.getLogger("prepare_benchmark")


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""

    def load() -> Body:
        from pipelines.jobs import benchmark_job

        return benchmark_job.run

    return run_command(make_parser(), argv, _log, load, "interrupted; nothing was written")


def make_parser() -> Parser:
    """Every option of the command."""
    parser = Parser(
        "prepare_benchmark",
        "Make a dataset folder, DIR/quality_data/NAME, of a benchmark's own files: images (copied byte for byte), "
        "image_path_list.txt, pair_list.txt and, of template sets, templates.txt.",
        [
            "--pairs lfw.bin --data-dir data --name lfw",
            "--pairs ijbc_template_pair_label.txt --templates ijbc_face_tid_mid.txt --images loose_crop "
            "--data-dir data --name IJBC",
        ],
        [
            "IJB-C's crops are not aligned: score and embed them with --align. The folder appears when it is complete.",
            "Exit code: 0 written; 2 bad input or option, nothing was written; 4 a bug; 130 interrupted.",
        ],
        passes_on=False,
    )
    data = parser.add_argument_group("data")
    data.add_argument(
        "--pairs",
        type=named,
        required=True,
        metavar="FILE",
        help="an InsightFace .bin, LFW's or XQLFW's pairs.txt, lines `a b 0|1`, or IJB-C's template_pair_label.txt",
    )
    data.add_argument(
        "--images", type=named, metavar="FOLDER", help="where the images lie (a .bin has them itself; default: none)"
    )
    data.add_argument(
        "--templates",
        type=named,
        metavar="FILE",
        help="IJB-C's face_tid_mid.txt: lines `image template media` (default: none, the pairs are of images)",
    )
    data.add_argument("--data-dir", type=named, required=True, metavar="DIR", help="folder with all benchmarks")
    data.add_argument("--name", type=named, required=True, metavar="NAME", help="name of this one; must be new")
    return parser


if __name__ == "__main__":
    sys.exit(run())
