"""The original's getQualityScore with its own options: lists of images in its folders -> its score files."""

import argparse
import logging
import sys
from collections.abc import Sequence

from pipelines.cli.command import EXIT_BAD_INPUT, EXIT_INCOMPLETE, EXIT_OK, Body, named, run_command
from pipelines.cli.parser import Parser

__all__ = ["EXIT_BAD_INPUT", "EXIT_INCOMPLETE", "EXIT_OK", "run"]

_log = logging.getLogger("original_scores")


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""

    def load() -> Body:
        from pipelines.jobs import original_scores_job

        return original_scores_job.run

    interrupted = "interrupted; score files that were finished are complete, of the others nothing was written"
    return run_command(make_parser(), argv, _log, load, interrupted)


def make_parser() -> Parser:
    """The options of the original, by the original's names."""
    parser = Parser(
        "original_scores",
        "Score the datasets of a folder that is laid out as the original's getQualityScore expects, and write its "
        "score files (lines `<path as listed> <score>`). docs/migration.md.",
        [
            "--data-dir data --datasets XQLFW,lfw --model_path ViT-FIQA --color_channel RGB",
            "--data-dir data --datasets lfw --model_path cr-fiqa-s --model_id 32572 --backbone iresnet50 --gpu_id 0",
        ],
        [
            "For every dataset it reads DIR/quality_data/DATASET/image_path_list.txt and writes "
            "DIR/quality_data_clean/DATASET/NAME_DATASET.txt, in place of an earlier one. A file appears when all of "
            "its images are scored: if one cannot be read, it is named and the dataset gets no file.",
            "Exit code: 0 all files are written; 2 bad input or option; 3 a dataset has images that cannot be read; 4 "
            "a bug; 130 interrupted. docs/exit_codes.md.",
        ],
        passes_on=False,
    )
    data = parser.add_argument_group("data")
    data.add_argument("--data-dir", type=named, default="./data", metavar="DIR", help="folder with quality_data")
    data.add_argument(
        "--datasets", type=_datasets, required=True, metavar="A,B", help="names of the datasets, commas between them"
    )
    data.add_argument(
        "--pairs", default="", metavar="FILE", help="taken, and not used: scores do not depend on pairs (default: none)"
    )
    data.add_argument(
        "--score_file_name",
        type=_file_name,
        default="ViT-FIQA.txt",
        metavar="NAME",
        help="beginning of the files' names",
    )
    data.add_argument(
        "--color_channel",
        choices=("BGR", "RGB"),
        default="BGR",
        help="BGR: files of the original's extraction scripts, whose red and blue are exchanged; RGB: any other files",
    )
    network = parser.add_argument_group("network")
    network.add_argument(
        "--model_path", type=named, required=True, metavar="DIR", help="folder of the network (model.pt), or its file"
    )
    network.add_argument(
        "--model_id",
        default="",
        metavar="ID",
        help="the file is IDbackbone.pth, as CR-FIQA names it (default: model.pt)",
    )
    network.add_argument(
        "--backbone",
        choices=("vit_FC", "iresnet50", "iresnet100"),
        help="what the network must be (default: whatever the file holds)",
    )
    network.add_argument(
        "--gpu_id",
        type=_gpu,
        default=0,
        metavar="N",
        help="number of the GPU; -1: the CPU. A GPU that is not there is an error",
    )
    return parser


def _gpu(text: str) -> int:
    if text != "-1" and not (text.isdecimal() and len(text) < 6):
        raise argparse.ArgumentTypeError(f"expected the number of a GPU, or -1 for the CPU, found {text!r}")
    return int(text)


def _datasets(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if odd := [name for name in names if not name or "/" in name or name in (".", "..")]:
        raise argparse.ArgumentTypeError(f"expected names with commas between them, found {odd[0]!r} in {text!r}")
    return list(dict.fromkeys(names))


def _file_name(text: str) -> str:
    if not text.removesuffix(".txt") or "/" in text:
        raise argparse.ArgumentTypeError(f"expected the name of a file without folders, found {text!r}")
    return text


if __name__ == "__main__":
    sys.exit(run())
