"""From scores to a cleaner training set: quality table + policy -> decisions -> the kept images, byte for byte."""

import functools
import logging
import sys
from collections.abc import Sequence

from pipelines.cli.command import EXIT_BAD_INPUT, EXIT_INCOMPLETE, EXIT_INTERRUPTED, EXIT_OK, Body, run_command
from pipelines.cli.filter_options import make_parser

__all__ = ["EXIT_BAD_INPUT", "EXIT_INCOMPLETE", "EXIT_INTERRUPTED", "EXIT_OK", "make_parser", "run"]

_log = logging.getLogger("filter_dataset")


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code (0 only if every row is accounted for).

    Args:
        argv: command line without the program's name; None for `sys.argv`.
    """
    parser = make_parser()

    def load() -> Body:
        from pipelines.jobs import filter_job

        return functools.partial(filter_job.run, parser=parser)

    return run_command(parser, argv, _log, load)


if __name__ == "__main__":
    sys.exit(run())
