"""Clean a dataset by one recipe: score, embed, find, decide, report, and write the kept images after a yes."""

import functools
import logging
import sys
from collections.abc import Sequence

from pipelines import embed_dataset, score_dataset
from pipelines.cli import filter_options, report_options
from pipelines.cli.clean_options import make_parser
from pipelines.cli.command import (
    EXIT_BAD_INPUT,
    EXIT_INCOMPLETE,
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_UNANSWERED,
    Body,
    run_command,
)

__all__ = [
    "EXIT_BAD_INPUT",
    "EXIT_INCOMPLETE",
    "EXIT_INTERRUPTED",
    "EXIT_OK",
    "EXIT_UNANSWERED",
    "make_parser",
    "run",
]

_log = logging.getLogger("clean_dataset")


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code (0 only if every record is accounted for and the images are written).

    Args:
        argv: command line without the program's name; None for `sys.argv`.
    """

    def load() -> Body:
        from pipelines.jobs import clean_job, clean_stages

        parsers = clean_stages.Parsers(
            score_dataset.make_parser, embed_dataset.make_parser, filter_options.make_parser, report_options.make_parser
        )
        return functools.partial(clean_job.run, parsers=parsers)

    return run_command(make_parser(), argv, _log, load, "interrupted; what is finished is kept: run the same command")


if __name__ == "__main__":
    sys.exit(run())
