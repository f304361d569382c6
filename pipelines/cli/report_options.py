"""The command line of report_dataset."""

import argparse

from pipelines.cli.command import named, positive
from pipelines.cli.label_options import add_group_options
from pipelines.cli.parser import Parser
from pipelines.cli.stored_table_options import add_allow_incomplete, add_moved, add_quality

MEMORY_MB = 512
FACES = 300
MOST_FACES = 2000


def make_parser() -> Parser:
    """Every option of the command."""
    parser = Parser(
        "report_dataset",
        "Make one HTML file to look at a scored dataset: counts, faces by quality, what a policy removed and why, "
        "identities; on its page a person keeps, drops or relabels faces and saves that as review.csv.",
        [
            "--quality scores --output report.html",
            "--quality scores --decisions clean --edc edc --group-by width --output report.html",
        ],
        ["Exit code: 0 the report is written; 2 bad input or option; 4 a bug; 130 interrupted. docs/exit_codes.md."],
        passes_on=False,
    )
    data = parser.add_argument_group("data")
    add_quality(data)
    data.add_argument(
        "--decisions",
        type=named,
        metavar="URI",
        help="output of fiqa filter over the same tables, in the same order (default: none)",
    )
    data.add_argument("--edc", type=named, metavar="URI", help="output of fiqa evaluate (default: none)")
    data.add_argument(
        "--further",
        type=named,
        metavar="FILE",
        help="`further.json` of fiqa clean: faces that further rules would take (default: none)",
    )
    data.add_argument(
        "--findings",
        type=named,
        metavar="URI",
        help="folder of the findings that fiqa filter was given by --findings (default: those that it made itself)",
    )
    data.add_argument(
        "--calibration",
        type=named,
        metavar="FILE",
        help="say what scores mean by this file, or by embedded or embedded-mixed (default: by what the tables say)",
    )
    data.add_argument("--output", type=named, required=True, metavar="FILE.html", help="file to write")
    data.add_argument("--overwrite", action="store_true", help="replace an existing file")
    add_allow_incomplete(data)
    add_moved(data)
    shown = parser.add_argument_group("what is shown")
    add_group_options(shown, several=True)
    shown.add_argument(
        "--examples",
        type=_faces,
        default=FACES,
        metavar="N",
        help=f"faces of each reason at most, up to {MOST_FACES}; the file holds as many as fit (default: {FACES})",
    )
    shown.add_argument("--title", default="Face image quality", help="title of the page")
    running = parser.add_argument_group("running")
    running.add_argument(
        "--threads", type=positive, metavar="N", help="threads of the engine that counts (default: one a core)"
    )
    running.add_argument("--memory-mb", type=positive, default=MEMORY_MB, metavar="MB", help="memory of that engine")
    return parser


def _faces(text: str) -> int:
    number = positive(text)
    if number > MOST_FACES:
        raise argparse.ArgumentTypeError(f"expected a whole number up to {MOST_FACES}, found {text!r}")
    return number
