"""The options of calibrate_scores."""

from fiqa_core.evaluation.comparisons import SCORES
from pipelines.cli.command import positive, rate
from pipelines.cli.parser import Parser
from pipelines.cli.stored_table_options import add_allow_incomplete


def make_parser() -> Parser:
    """Every option of the command."""
    parser = Parser(
        "calibrate_scores",
        "Say what a network's scores mean on a set: percentile, and predicted false non-match rate (FNMR); write a "
        "small JSON file.",
        [
            "--quality scores --embeddings edgeface=embeddings --name lfw --output lfw.json",
            "--quality scores --embeddings edgeface=embeddings --pairs pairs.txt --name lfw --output lfw.json",
        ],
        [
            "Then: fiqa score --calibration lfw.json. docs/calibration.md.",
            "Exit code: 0 done; 2 bad input or option, and nothing was written; 4 a bug; 130 interrupted. "
            "docs/exit_codes.md.",
        ],
    )
    data = parser.add_argument_group("data")
    data.add_argument("--quality", required=True, metavar="URI", help="the set's quality table, of one network")
    data.add_argument(
        "--embeddings",
        required=True,
        metavar="NAME=PATH",
        help="what the judge, a face recognition network, made of the same images; NAME goes into the file",
    )
    data.add_argument("--name", default="", metavar="NAME", help="name of the set (default: as --quality is called)")
    data.add_argument(
        "--pairs", metavar="PATH", help="lines `a b 1` (same person) or `a b 0` (default: pairs by the tables' labels)"
    )
    data.add_argument(
        "--per-identity",
        type=positive,
        default=10,
        metavar="N",
        help="without --pairs: at most so many images of one person",
    )
    add_allow_incomplete(data)
    data.add_argument("--output", required=True, metavar="FILE", help="the JSON file to write")
    data.add_argument("--overwrite", action="store_true", help="replace that file")
    how = parser.add_argument_group("measuring")
    how.add_argument("--fmr", type=rate, default=1e-3, metavar="RATE", help="the judge's false match rate")
    how.add_argument("--dissimilarity", choices=SCORES, default="arccos", help="how two embeddings are compared")
    how.add_argument(
        "--bootstrap", type=positive, default=200, metavar="N", help="resamples of the subjects for the 95 %% band"
    )
    how.add_argument("--seed", type=int, default=0, metavar="N", help="seed of resamples and of drawn images")
    return parser
