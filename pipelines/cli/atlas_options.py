"""The command line of atlas_dataset."""

import argparse
import math

from pipelines.cli.command import named, positive, whole
from pipelines.cli.filter_options import add_embedding_options
from pipelines.cli.parser import Parser
from pipelines.cli.stored_table_options import add_allow_incomplete, add_moved, add_quality
from pipelines.cli.table_options import add_again_options

# As in fiqa_core/atlas/settings.py, which imports numpy; a test compares them.
MOST_POINTS = 50_000
PERPLEXITY = 30.0
SIDE = 64
_LARGEST_SEED = 2**32 - 1


def make_parser() -> Parser:
    """Every option of the command."""
    parser = Parser(
        "atlas_dataset",
        "Place the faces of a dataset on a map by their embeddings, near ones alike, and write it with a picture of "
        "each face as one Parquet file: for embedding-atlas, FiftyOne, pandas.",
        [
            "--quality scores --embeddings embeddings --output atlas",
            "--quality scores --embeddings embeddings --decisions clean --columns width height --output atlas",
        ],
        [
            "Look at it: embedding-atlas atlas/atlas.parquet --x x --y y --image thumbnail --disable-projection. "
            "docs/atlas.md.",
            "Exit code: 0 every point has its picture; 2 bad input or option; 3 written, but images are missing or "
            "changed; 4 a bug; 130 interrupted. docs/exit_codes.md.",
        ],
        passes_on=False,
    )
    _add_data(parser)
    add_embedding_options(parser.add_argument_group("face recognition embeddings"))
    _add_map(parser)
    running = parser.add_argument_group("running")
    add_again_options(running, "do nothing if the same atlas is finished already; else make it")
    return parser


def _add_data(parser: Parser) -> None:
    data = parser.add_argument_group("data")
    add_quality(data, ", whose plans say where the images lie")
    data.add_argument(
        "--decisions",
        type=named,
        metavar="URI",
        help="output of fiqa filter over the same tables, in the same order: adds what it decided of each face "
        "(default: none)",
    )
    data.add_argument("--output", type=named, required=True, metavar="URI", help="folder to write to; must be empty")
    add_allow_incomplete(data)
    add_moved(data)


def _add_map(parser: Parser) -> None:
    shown = parser.add_argument_group("map")
    shown.add_argument(
        "--sample",
        type=positive,
        default=MOST_POINTS,
        metavar="N",
        help="place at most N faces: of more a sample, the same for the same --seed",
    )
    shown.add_argument("--seed", type=_seed, default=0, metavar="N", help="decides sample and map")
    shown.add_argument(
        "--perplexity",
        type=_perplexity,
        default=PERPLEXITY,
        metavar="N",
        help="about how many neighbours of a face count: smaller shows identities, larger the whole",
    )
    shown.add_argument("--side", type=_side, default=SIDE, metavar="PIXELS", help="largest side of a thumbnail")
    shown.add_argument(
        "--columns",
        type=named,
        nargs="+",
        default=[],
        metavar="COLUMN",
        help="further columns of the quality table or the decisions (default: none)",
    )


def _seed(text: str) -> int:
    seed = whole(text)
    if seed > _LARGEST_SEED:
        raise argparse.ArgumentTypeError(f"expected a whole number up to {_LARGEST_SEED}, found {text!r}")
    return seed


def _perplexity(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not 1 <= found <= 1000:
        raise argparse.ArgumentTypeError(f"expected a number from 1 to 1000, found {text!r}")
    return found


def _side(text: str) -> int:
    side = positive(text)
    if not 16 <= side <= 512:
        raise argparse.ArgumentTypeError(f"expected 16 to 512 pixels, found {text!r}")
    return side
