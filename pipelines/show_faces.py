"""Look at faces: the rows of a table that fit a condition, as one picture with quality, label and key under each."""

import argparse
import logging
import sys
from collections.abc import Sequence

from pipelines.cli.command import (
    EXIT_BAD_INPUT,
    EXIT_INCOMPLETE,
    EXIT_INTERRUPTED,
    EXIT_OK,
    Body,
    named,
    positive,
    run_command,
)
from pipelines.cli.parser import Parser
from pipelines.cli.stored_table_options import add_allow_incomplete, add_moved, add_quality

__all__ = ["EXIT_BAD_INPUT", "EXIT_INCOMPLETE", "EXIT_INTERRUPTED", "EXIT_OK", "make_parser", "run"]

_log = logging.getLogger("show_faces")


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code (0 only if every face is on the sheet)."""

    def load() -> Body:
        from pipelines.jobs import show_job

        return show_job.run

    return run_command(make_parser(), argv, _log, load, "interrupted; nothing was written")


def make_parser() -> Parser:
    """Every option of the command."""
    parser = Parser(
        "show_faces",
        "Show the faces of chosen rows of a quality table, or of what a filter run decided, as one picture.",
        [
            '--quality scores --where "quality < 0.1" --order quality --limit 100 --output sheet.png',
            "--quality scores --decisions clean --where \"reason = 'duplicate_near'\" --output duplicates.png",
        ],
        [
            "Conditions are DuckDB's, over the columns of the table: label = '7' AND width >= 112. They read no files.",
            "Exit code: 0 every face is on the sheet; 2 bad input or option, or no row fits; 3 written, but images are "
            "missing or changed; 4 a bug; 130 interrupted. docs/faces.md.",
        ],
        passes_on=False,
    )
    _add_data(parser)
    _add_choice(parser)
    _add_sheet(parser)
    return parser


def _add_data(parser: Parser) -> None:
    data = parser.add_argument_group("data")
    add_quality(data, ", whose plans say where the images lie")
    data.add_argument(
        "--decisions",
        type=named,
        metavar="URI",
        help="show rows of this instead: output of fiqa filter over these tables, or its removed.csv (default: the "
        "rows of the quality tables)",
    )
    add_moved(data)
    add_allow_incomplete(data)


def _add_choice(parser: Parser) -> None:
    choice = parser.add_argument_group("which faces")
    choice.add_argument(
        "--where", default="", metavar="CONDITION", help="show rows for which this is true (default: all rows)"
    )
    choice.add_argument(
        "--order",
        default="",
        metavar="COLUMNS",
        help="order of the faces: quality, quality DESC, label, ... (default: as in the table)",
    )
    choice.add_argument("--limit", type=positive, default=100, metavar="N", help="faces at most")


def _add_sheet(parser: Parser) -> None:
    sheet = parser.add_argument_group("sheet")
    sheet.add_argument(
        "--output", type=_picture, required=True, metavar="FILE", help="picture to write: .png, .jpg or .webp"
    )
    sheet.add_argument("--overwrite", action="store_true", help="replace the file if it is there")
    sheet.add_argument("--per-row", type=positive, metavar="N", help="faces in a row (default: about a square sheet)")
    sheet.add_argument("--side", type=_side, default=112, metavar="PIXELS", help="largest side of a face")


def _picture(text: str) -> str:
    if not text.lower().endswith((".png", ".jpg", ".jpeg", ".webp")):
        raise argparse.ArgumentTypeError(f"expected a name that ends in .png, .jpg or .webp, found {text!r}")
    return named(text)


def _side(text: str) -> int:
    side = positive(text)
    if not 32 <= side <= 1024:
        raise argparse.ArgumentTypeError(f"expected 32 to 1024 pixels, found {text!r}")
    return side


if __name__ == "__main__":
    sys.exit(run())
