"""A quality table in another form: score file of the original tools, or CSV."""

import logging
import sys
from collections.abc import Sequence

from fiqa_core.evaluation.score_files import UNSCORED
from pipelines.cli.command import EXIT_BAD_INPUT, EXIT_OK, Body, named, run_command
from pipelines.cli.parser import Parser
from pipelines.cli.stored_table_options import add_allow_incomplete, add_quality

__all__ = ["EXIT_BAD_INPUT", "EXIT_OK", "run"]

_log = logging.getLogger("export_scores")


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""

    def load() -> Body:
        from pipelines.jobs import scores_job

        return scores_job.export

    return run_command(make_parser(), argv, _log, load, "interrupted; nothing was written")


def make_parser() -> Parser:
    """Every option of the command."""
    parser = Parser(
        "export_scores",
        "Write the scores of a quality table as a score file (lines `path score`), or the table as CSV.",
        [
            "--quality scores --to scores --list data/quality_data/lfw/image_path_list.txt --output ViT-FIQA_lfw.txt",
            "--quality scores --to csv --output scores.csv",
        ],
        [
            "The way back: fiqa import-scores. Exit code: 0 written; 2 bad input or option, nothing was written; 4 a "
            "bug."
        ],
        passes_on=False,
    )
    data = parser.add_argument_group("data")
    add_quality(data)
    data.add_argument("--to", choices=("scores", "csv"), required=True, help="score file, or CSV with all columns")
    data.add_argument("--output", type=named, required=True, metavar="FILE", help="the file; must not exist")
    data.add_argument("--overwrite", action="store_true", help="replace a file that exists")
    add_allow_incomplete(data)
    scores = parser.add_argument_group("--to scores")
    scores.add_argument(
        "--list",
        type=named,
        metavar="FILE",
        help="write the paths of this list, as they stand there and in its order (default: the keys of the table)",
    )
    scores.add_argument(
        "--unscored", choices=UNSCORED, default="error", help="what becomes of images that have no score"
    )
    table = parser.add_argument_group("--to csv")
    table.add_argument(
        "--columns",
        nargs="+",
        default=[],
        metavar="COLUMN",
        help="columns of the CSV file (default: all but embedding and thumb)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(run())
