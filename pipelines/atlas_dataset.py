"""A map of the embeddings with a picture of each face, as a Parquet file for embedding-atlas, FiftyOne and pandas."""

import logging
import sys
from collections.abc import Sequence

from pipelines.cli.atlas_options import make_parser
from pipelines.cli.command import EXIT_BAD_INPUT, EXIT_INCOMPLETE, EXIT_INTERRUPTED, EXIT_OK, Body, run_command

__all__ = ["EXIT_BAD_INPUT", "EXIT_INCOMPLETE", "EXIT_INTERRUPTED", "EXIT_OK", "make_parser", "run"]

_log = logging.getLogger("atlas_dataset")


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code (0 only if every point has its picture).

    Args:
        argv: command line without the program's name; None for `sys.argv`.
    """

    def load() -> Body:
        from pipelines.jobs import atlas_job

        return atlas_job.run

    return run_command(make_parser(), argv, _log, load, "interrupted; nothing that looks whole was written")


if __name__ == "__main__":
    sys.exit(run())
