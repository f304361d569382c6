"""Find the faces of a sharded dataset of photographs and write them as aligned 112x112 crops: shards -> tars."""

import functools
import logging
import sys
from collections.abc import Sequence

from pipelines.cli import align_options, table_options
from pipelines.cli.command import EXIT_BAD_INPUT, EXIT_INCOMPLETE, EXIT_INTERRUPTED, EXIT_OK, Body, run_command
from pipelines.cli.dataflow_options import add_no_wait
from pipelines.cli.parser import Parser

__all__ = ["EXIT_BAD_INPUT", "EXIT_INCOMPLETE", "EXIT_INTERRUPTED", "EXIT_OK", "run"]

_log = logging.getLogger("align_dataset")


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code (0 only if every record is accounted for)."""
    parser = make_parser()

    def load() -> Body:
        from pipelines.jobs import align_job

        return functools.partial(align_job.run, parser=parser)

    return run_command(parser, argv, _log, load)


def make_parser() -> Parser:
    """Every option of the command but Beam's own."""
    parser = Parser(
        "align_dataset",
        "Find the face in every picture and write it as an aligned 112x112 crop: WebDataset tars in OUTPUT/crops, and "
        "a Parquet table in OUTPUT/quality, one row a record.",
        [
            "--input photos/ --output aligned",
            "--input 'shards/*.tar' --output aligned --faces all --image-format jpeg",
        ],
        table_options.NOTES,
    )
    table_options.add_data_options(parser)
    align_options.add_crop_options(parser)
    images = parser.add_argument_group("images")
    table_options.add_min_side(images)
    speed = parser.add_argument_group("speed")
    table_options.add_worker_options(speed, "1")
    add_no_wait(parser.add_argument_group("Dataflow (docs/dataflow.md)"))
    table_options.add_trial_options(parser)
    table_options.add_running_options(parser)
    # What there would be a choice of with a network; and colours are as in any ordinary file.
    parser.set_defaults(device="cpu", gpu=None, scoring_process="off", align=True, channel_order="rgb")
    return parser


if __name__ == "__main__":
    sys.exit(run())
