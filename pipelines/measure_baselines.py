"""Score a dataset by a simple measure instead of a network: the same job, the same table, for comparison."""

import functools
import logging
import sys
from collections.abc import Sequence

from fiqa_core.scoring.measures import MEASURES
from pipelines.cli import table_options
from pipelines.cli.align_options import add_align_options
from pipelines.cli.command import EXIT_BAD_INPUT, EXIT_INCOMPLETE, EXIT_INTERRUPTED, EXIT_OK, Body, run_command
from pipelines.cli.dataflow_options import add_no_wait
from pipelines.cli.parser import Parser

__all__ = ["EXIT_BAD_INPUT", "EXIT_INCOMPLETE", "EXIT_INTERRUPTED", "EXIT_OK", "run"]

_log = logging.getLogger("measure_baselines")


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code (0 only if every record is accounted for)."""
    parser = make_parser()

    def load() -> Body:
        from pipelines.jobs import measure_job

        return functools.partial(measure_job.run, parser=parser)

    return run_command(parser, argv, _log, load)


def make_parser() -> Parser:
    """Every option of the command but Beam's own: those of score_dataset that mean something without a network."""
    parser = Parser(
        "measure_baselines",
        "Score every image by a simple measure, for comparison in fiqa evaluate; write a Parquet quality table.",
        [
            "--measure laplacian --input 'shards/*.tar' --output sharpness",
            "--measure stored-size --input faces/ --output sizes",
        ],
        table_options.NOTES,
        usual=table_options.USUAL,
    )
    measure = parser.add_argument_group("measure")
    measure.add_argument(
        "--measure",
        choices=list(MEASURES),
        required=True,
        help="; ".join(f"{name}: {text}" for name, text in MEASURES.items()),
    )
    table_options.add_data_options(parser)
    table_options.add_image_options(parser)
    add_align_options(parser)
    speed = parser.add_argument_group("speed")
    table_options.add_worker_options(speed, "1")
    add_no_wait(parser.add_argument_group("Dataflow (docs/dataflow.md)"))
    table_options.add_trial_options(parser)
    table_options.add_running_options(parser)
    # What a measure runs on, where a network would have a choice.
    parser.set_defaults(device="cpu", gpu=None, scoring_process="off")
    return parser


if __name__ == "__main__":
    sys.exit(run())
