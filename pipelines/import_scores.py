"""Scores of other tools as a quality table: a score file -> Parquet, with the records of a table if there is one."""

import logging
import sys
from collections.abc import Sequence

from pipelines.cli.command import EXIT_BAD_INPUT, EXIT_OK, Body, named, run_command
from pipelines.cli.parser import Parser

__all__ = ["EXIT_BAD_INPUT", "EXIT_OK", "run"]

_log = logging.getLogger("import_scores")


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""

    def load() -> Body:
        from pipelines.jobs import scores_job

        return scores_job.import_scores

    return run_command(make_parser(), argv, _log, load, "interrupted; what was written is not complete")


def make_parser() -> Parser:
    """Every option of the command."""
    parser = Parser(
        "import_scores",
        "Make a quality table of a score file (lines `path score`), for filtering by scores of another tool. "
        "(fiqa evaluate reads score files themselves.)",
        ["--scores CR-FIQA_lfw.txt --like scores --output imported", "--scores s.txt --output imported"],
        ["Exit code: 0 written; 2 bad input or option; 4 a bug."],
        passes_on=False,
    )
    data = parser.add_argument_group("data")
    data.add_argument("--scores", type=named, required=True, metavar="FILE", help="lines `path score`; higher = better")
    data.add_argument(
        "--like",
        type=named,
        metavar="URI",
        help="quality table of the same images: its shards, digests and labels are taken over, so that the result can "
        "be filtered (default: the table has key, quality and status only, which fiqa evaluate takes)",
    )
    data.add_argument(
        "--output", type=named, required=True, metavar="FOLDER", help="folder for the table; must be empty or not exist"
    )
    data.add_argument(
        "--allow-incomplete", action="store_true", help="go on with a table of --like that is not complete"
    )
    return parser


if __name__ == "__main__":
    sys.exit(run())
