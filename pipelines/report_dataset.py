"""Look at a scored dataset: one HTML file with counts, faces, what a policy removed and why; no network is needed."""

import logging
import sys
from collections.abc import Sequence

from pipelines.cli.command import EXIT_BAD_INPUT, EXIT_INTERRUPTED, EXIT_OK, Body, run_command
from pipelines.cli.report_options import make_parser

__all__ = ["EXIT_BAD_INPUT", "EXIT_INTERRUPTED", "EXIT_OK", "make_parser", "run"]

_log = logging.getLogger("report_dataset")


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code.

    Args:
        argv: command line without the program's name; None for `sys.argv`.
    """

    def load() -> Body:
        from pipelines.jobs import report_job

        return report_job.run

    return run_command(make_parser(), argv, _log, load, "interrupted; nothing was written")


if __name__ == "__main__":
    sys.exit(run())
