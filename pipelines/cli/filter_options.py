"""The command line of filter_dataset, and the options that contradict each other."""

import argparse

from fiqa_core.curation.subset.settings import DEFAULT_SHARD_SIZE, is_subset, layouts_of
from fiqa_core.shards.formats import SAME, output_formats
from pipelines.cli.command import named, positive
from pipelines.cli.errors import OptionError
from pipelines.cli.label_options import add_group_options, add_labels_columns
from pipelines.cli.parser import Parser
from pipelines.cli.policy_options import add_policy_options
from pipelines.cli.stored_table_options import add_allow_incomplete, add_moved, add_quality
from pipelines.cli.table_options import add_again_options

MANIFEST_ROWS = 1_000_000
MEMORY_MB = 1024
OWN_COLUMN = "table"
# What --help shows beside the options that must be given.
_USUAL = (
    *("--output", "--embeddings", "--policy"),
    *("--drop-wrong-labels", "--exact-duplicates", "--min-quality", "--drop-worst", "--keep-at-least"),
    *("--protect-recognised", "--drop-where", "--min-per-identity"),
    *("--write", "--dry-run", "--resume", "--overwrite"),
)


def make_parser() -> Parser:
    """Every option of the command but Beam's own."""
    parser = Parser(
        "filter_dataset",
        "Decide by a policy which images of a scored dataset are kept, and with what weight; write the list of them, "
        "or the images themselves.",
        [
            "--quality scores --drop-worst 0.05 --dry-run",
            "--quality scores --embeddings embeddings --output clean --write webdataset --drop-wrong-labels "
            "--exact-duplicates all",
        ],
        [
            "Negative numbers are given with an equals sign: --min-quality=-0.5. Beam's own options are passed on "
            "(docs/runners.md).",
            "Exit code: 0 every row is accounted for; 2 bad input or option, or the run broke off; 3 finished, but "
            "images could not be written; 4 a bug; 130 interrupted. docs/exit_codes.md.",
        ],
        usual=_USUAL,
    )
    _add_data(parser)
    _add_embeddings(parser)
    add_policy_options(parser)
    _add_writing(parser)
    _add_running(parser)
    return parser


def refuse_contradictions(arguments: argparse.Namespace) -> None:
    """Refuse options that do not go together, before anything is read.

    Raises:
        OptionError: it names them.
    """
    if arguments.output is None and not arguments.dry_run:
        raise OptionError("--output is needed (only --dry-run goes without)")
    if arguments.labels is None and (arguments.labels_key or arguments.labels_column):
        raise OptionError("--labels-key and --labels-column are for the file of --labels, and there is none")
    if arguments.findings is not None and arguments.embeddings:
        raise OptionError("--findings has what an earlier run found in --embeddings; give one of the two")
    given = [n for n, v in (("--relabel", arguments.relabel), ("--moved", arguments.moved)) if v]
    if arguments.write_dropped and "--moved" in given:
        given.remove("--moved")
    if given and not is_subset(arguments.write):
        raise OptionError(f"{given[0]} is for --write {'|'.join(output_formats())}, not for {arguments.write}")
    if arguments.recordio_layout and arguments.recordio_layout not in layouts_of(arguments.write):
        raise OptionError(f"--recordio-layout is for --write recordio, not for {arguments.write}")


def _add_data(parser: Parser) -> None:
    data = parser.add_argument_group("data")
    add_quality(data, "; several, if different shards of one dataset were scored by several runs")
    data.add_argument(
        "--against",
        type=named,
        nargs="+",
        default=[],
        metavar="URI",
        help="quality tables of datasets that must not overlap with this one (default: none)",
    )
    data.add_argument(
        "--labels",
        type=named,
        metavar="FILE",
        help="labels in place of those of the tables: a CSV or Parquet file with a key and a label a row; rows of "
        "other keys have no label (default: none)",
    )
    add_labels_columns(data)
    add_group_options(data)
    data.add_argument(
        "--review",
        type=named,
        metavar="FILE.csv",
        help="what a person decided, before every rule: a CSV file with sha256, verdict (keep, drop or empty), label "
        "(the right one, or empty) and note, as the page of a report saves it (default: none; docs/report.md)",
    )
    add_allow_incomplete(data)
    data.add_argument(
        "--output",
        type=named,
        metavar="URI",
        help="folder to write to; must be empty or not exist (required without --dry-run)",
    )


def _add_embeddings(parser: Parser) -> None:
    group = parser.add_argument_group(
        "face recognition embeddings", "For wrong labels and near duplicates (docs/label_noise.md)."
    )
    add_embedding_options(group, also=" (also of --against)", more=" Labels are judged if it is given")
    group.add_argument(
        "--findings",
        metavar="URI",
        help="folder `findings` of an earlier filter run over the same tables, instead of --embeddings (default: "
        "search anew)",
    )


def add_embedding_options(group: argparse._ArgumentGroup, also: str = "", more: str = "") -> None:
    """Where embeddings come from. `also`, `more`: what the help says beside that."""
    group.add_argument(
        "--embeddings",
        nargs="+",
        default=[],
        metavar="URI",
        help=f"tables of embeddings: outputs of fiqa embed{also}, other Parquet, one .npy, or `{OWN_COLUMN}` for "
        f"the quality tables' own column.{more} (default: the quality tables' own column if they have one)",
    )
    group.add_argument(
        "--embedding-column", metavar="NAME", help="column of the embedding in other Parquet (default: embedding)"
    )
    group.add_argument(
        "--embedding-join",
        choices=("sha256", "key"),
        help="column whose values are equal in both tables (default: sha256)",
    )
    group.add_argument(
        "--embedding-join-column",
        default="",
        metavar="NAME",
        help="name of that column in the other Parquet (default: the same)",
    )
    group.add_argument(
        "--embedding-keys",
        metavar="FILE",
        help="for a .npy: text file with the key of each of its rows, one a line (required there, no default)",
    )


def _add_writing(parser: Parser) -> None:
    writing = parser.add_argument_group("writing")
    writing.add_argument(
        "--write",
        choices=("manifest", *output_formats(), "none"),
        default="manifest",
        help="what to write of the kept rows: a list of them (default: manifest), or the images in that format (same: "
        "in the format of the input; docs/subsets.md)",
    )
    writing.add_argument(
        "--write-dropped",
        action="store_true",
        help="write the images that are not kept, too: OUTPUT/dropped/REASON/IDENTITY/IMAGE, byte for byte",
    )
    writing.add_argument(
        "--shard-size",
        type=positive,
        metavar="N",
        help=f"images in a shard (default: {DEFAULT_SHARD_SIZE:,}), or rows in a file of the list (default: "
        f"{MANIFEST_ROWS:,})",
    )
    writing.add_argument(
        "--relabel", action="store_true", help="replace labels by 0 .. n-1, and write the map to labels.csv"
    )
    writing.add_argument(
        "--recordio-layout",
        choices=layouts_of(SAME),
        help="insightface: with InsightFace's header and identity records (default: up to 2^24 records); plain: the "
        "images alone, as mxnet's ImageRecordIter and DALI read them",
    )
    add_moved(writing)


def _add_running(parser: Parser) -> None:
    running = parser.add_argument_group("running")
    running.add_argument("--dry-run", action="store_true", help="print what the policy would do, write nothing")
    running.add_argument(
        "--threads", type=positive, metavar="N", help="threads of the engine that decides (default: one a core)"
    )
    running.add_argument("--memory-mb", type=positive, default=MEMORY_MB, metavar="MB", help="memory of that engine")
    running.add_argument(
        "--workers",
        type=positive,
        metavar="N",
        help="worker processes on this machine, for searches and for writing images (default: 1)",
    )
    add_again_options(running, "keep finished files of an earlier run, do the others")
