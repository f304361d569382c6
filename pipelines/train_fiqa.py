"""Train a ViT-FIQA: labelled shards -> model.pt. One process, or several under torchrun."""

import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import fields

from fiqa_core.training.settings import SECTIONS
from pipelines.cli.command import EXIT_BAD_INPUT, EXIT_INTERRUPTED, EXIT_OK, Body, run_command
from pipelines.cli.parser import Parser
from pipelines.cli.setting_options import add_option
from pipelines.cli.table_options import add_again_options

__all__ = ["EXIT_BAD_INPUT", "EXIT_INTERRUPTED", "EXIT_OK", "run"]

_log = logging.getLogger("train_fiqa")


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code (0: trained to the end)."""
    number = int(os.environ.get("RANK", "0"))  # of this process, under torchrun
    return run_command(
        make_parser(),
        argv,
        _log,
        _load,
        "interrupted; go on from the last checkpoint with --resume",
        logging.INFO if number == 0 else logging.WARNING,
    )


def _load() -> Body:
    from pipelines.jobs import train_job

    return train_job.run


def make_parser() -> Parser:
    """Every option of the command."""
    parser = Parser(
        "train_fiqa",
        "Train a ViT-FIQA on labelled shards of aligned faces; writes model.pt, which fiqa score loads.",
        [
            "--config configs/vit_s_ms1mv2.yaml --input 'faces/*.tar' --output runs/mine",
            "--config configs/nano_lfw.yaml --teacher-model recognition.onnx --output runs/small --resume",
        ],
        [
            "Several GPUs or processes: torchrun --nproc-per-node N -m pipelines.train_fiqa ... (docs/training.md).",
            "Exit code: 0 trained to the end; 2 bad input or setting, or the run broke off; 4 a bug; 130 stopped, with "
            "a checkpoint. docs/exit_codes.md.",
        ],
        {"--teacher": "--teacher-model"},
        passes_on=False,
    )
    settings = parser.add_argument_group("settings")
    settings.add_argument(
        "--config",
        required=True,
        metavar="FILE",
        help="settings as a YAML file, such as configs/nano_lfw.yaml; options override it",
    )
    settings.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="another setting, such as optimiser.lr=3e-4; may be repeated (default: as in --config)",
    )
    for section, kind in SECTIONS.items():
        group = parser.add_argument_group(f"settings: {section}")
        for item in fields(kind):
            add_option(parser, group, section, item, "as in --config")
    running = parser.add_argument_group("running")
    add_again_options(running, "go on from the last checkpoint in the output")
    return parser


if __name__ == "__main__":
    sys.exit(run())
