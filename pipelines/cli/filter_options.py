"""The command line of filter_dataset, and what it says of embeddings."""

import argparse
from collections.abc import Sequence

from fiqa_core import storage
from fiqa_core.curation.decisions.filter_run import Writing
from fiqa_core.curation.decisions.policy import Policy
from fiqa_core.curation.findings.settings import FindingsSettings
from fiqa_core.curation.subset.settings import DEFAULT_SHARD_SIZE, is_subset, layouts_of
from fiqa_core.shards.formats import SAME, output_formats
from fiqa_core.tables.embedding_files import EmbeddingSource
from fiqa_core.tables.quality_files import Part, TableError, find_parts
from pipelines.cli.command import Parser, named, positive
from pipelines.cli.policy_options import add_policy_options
from pipelines.runners.beam_options import OptionError

MANIFEST_ROWS = 1_000_000
MEMORY_MB = 1024
_OWN_COLUMN = "table"


def make_parser() -> argparse.ArgumentParser:
    """Every option of the command but Beam's own."""
    parser = Parser(
        prog="python -m pipelines.filter_dataset",
        description="Decide by a policy which images of a scored dataset are kept, and with what weight; write them.",
        epilog="Negative numbers are given as --min-quality=-0.5. Beam's own options are passed on. Exit code: 0 every "
        "row is accounted for; 2 bad input or option, or the run broke off; 3 finished, but images could not be "
        "written; 130 interrupted.",
    )
    _add_data(parser)
    _add_embeddings(parser)
    add_policy_options(parser)
    _add_writing(parser)
    _add_running(parser)
    return parser


def embedding_source(arguments: argparse.Namespace, own: Sequence[Part]) -> EmbeddingSource | None:
    """Where the embeddings are: as the options say, else the tables' own column if all have one, else None.

    Raises:
        OptionError: options that do not go together.
    """
    places = tuple(place if place == _OWN_COLUMN else storage.absolute(place) for place in arguments.embeddings)
    foreign = arguments.embedding_column or arguments.embedding_join or arguments.embedding_join_column
    if not places:
        if foreign or arguments.embedding_keys:
            raise OptionError("--embedding-column, -join, -join-column and -keys say more of --embeddings; give that")
        has_own = bool(own) and all(part.embedding_dim for part in own)
        return EmbeddingSource() if has_own else None
    if _OWN_COLUMN in places:
        if len(places) > 1 or foreign or arguments.embedding_keys:
            raise OptionError(f"--embeddings {_OWN_COLUMN} is the tables' own column; nothing else goes with it")
        return EmbeddingSource()
    if places[0].endswith(".npy"):
        if len(places) > 1 or not arguments.embedding_keys:
            raise OptionError("--embeddings FILE.npy needs --embedding-keys FILE (one key a line), and is one file")
        keys = storage.absolute(arguments.embedding_keys)
        return EmbeddingSource("npy", places, "", "key", arguments.embedding_join_column, keys)
    if arguments.embedding_keys:
        raise OptionError(
            f"--embedding-keys goes with --embeddings FILE.npy; {places[0]} is a table, which has its keys in a column "
            "(--embedding-join-column)"
        )
    if foreign or not _is_run(places[0]):
        return EmbeddingSource(
            "parquet",
            places,
            arguments.embedding_column or "embedding",
            arguments.embedding_join or "sha256",
            arguments.embedding_join_column,
        )
    return EmbeddingSource("run", places)


def _is_run(place: str) -> bool:
    """Whether a place holds tables of ours, with the columns that a quality table has."""
    try:
        find_parts([place])
    except TableError:
        return False
    return True


def search_settings(arguments: argparse.Namespace, policy: Policy, has_embeddings: bool) -> FindingsSettings | None:
    """What has to be looked for, None if nothing has.

    Raises:
        OptionError: embeddings are needed and not there.
    """
    if arguments.findings is not None:
        return None
    labels = policy.needs_labels() or bool(arguments.embeddings)
    near = policy.near.search if policy.needs_pairs() else None
    if (labels or (near is not None and near.by != "phash")) and not has_embeddings:
        asked = f"looks for near duplicates by {near.by}" if near is not None else ""
        if policy.needs_labels():
            asked = "drops wrong labels" if policy.labels.drop_wrong else "protects recognised faces"
        raise OptionError(
            f"the policy {asked}, which takes face recognition embeddings. Write them with python -m "
            "pipelines.embed_dataset and name its output by --embeddings (or --near-by phash, --findings)."
        )
    if not labels and near is None:
        return None
    return FindingsSettings(policy.label_search if labels else None, near)


def refuse_contradictions(arguments: argparse.Namespace) -> None:
    """Refuse options that do not go together, before anything is read.

    Raises:
        OptionError: it names them.
    """
    if arguments.output is None and not arguments.dry_run:
        raise OptionError("--output is needed (only --dry-run goes without)")
    if arguments.findings is not None and arguments.embeddings:
        raise OptionError("--findings are what was found by means of embeddings earlier; give one of the two")
    given = [n for n, v in (("--relabel", arguments.relabel), ("--moved", arguments.moved)) if v]
    if given and not is_subset(arguments.write):
        raise OptionError(f"{given[0]} is for --write {'|'.join(output_formats())}, not for {arguments.write}")
    if arguments.recordio_layout and arguments.recordio_layout not in layouts_of(arguments.write):
        raise OptionError(f"--recordio-layout is for --write recordio, not for {arguments.write}")


def writing_of(arguments: argparse.Namespace) -> Writing:
    """What is written of the kept rows."""
    default = DEFAULT_SHARD_SIZE if is_subset(arguments.write) else MANIFEST_ROWS
    return Writing(arguments.write, arguments.shard_size or default, arguments.relabel, arguments.recordio_layout or "")


def _add_data(parser: argparse.ArgumentParser) -> None:
    data = parser.add_argument_group("data")
    data.add_argument(
        "--quality",
        type=named,
        nargs="+",
        required=True,
        metavar="URI",
        help="outputs of score_dataset, or their `quality`; several: runs over different shards of one dataset",
    )
    data.add_argument(
        "--against",
        type=named,
        nargs="+",
        default=[],
        metavar="URI",
        help="tables of datasets that must not overlap with this one",
    )
    data.add_argument(
        "--allow-incomplete",
        action="store_true",
        help="go on with tables of runs that are not finished or could not read everything",
    )
    data.add_argument("--output", type=named, metavar="URI", help="folder to write to; must be empty or not exist")


def _add_embeddings(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "face recognition embeddings", "for wrong labels and near duplicates (docs/label_noise.md)"
    )
    group.add_argument(
        "--embeddings",
        nargs="+",
        default=[],
        metavar="URI",
        help="outputs of embed_dataset (also of --against), other Parquet, one .npy, or "
        f"`{_OWN_COLUMN}` for the quality tables' own column; given: labels are judged",
    )
    group.add_argument("--embedding-column", metavar="NAME", help="of other Parquet (embedding)")
    group.add_argument("--embedding-join", choices=("sha256", "key"), help="what is equal in both tables (sha256)")
    group.add_argument("--embedding-join-column", default="", metavar="NAME", help="its name in the other Parquet")
    group.add_argument("--embedding-keys", metavar="FILE", help="of a .npy: the key of each of its rows, one a line")
    group.add_argument("--findings", metavar="URI", help="`findings` of an earlier filter run over the same tables")


def _add_writing(parser: argparse.ArgumentParser) -> None:
    writing = parser.add_argument_group("writing")
    writing.add_argument(
        "--write",
        choices=("manifest", *output_formats(), "none"),
        default="manifest",
        help="what is written of the kept rows: a list of them (the default), or the images in that format (docs/"
        "subsets.md; same: that of the input)",
    )
    writing.add_argument(
        "--shard-size",
        type=positive,
        metavar="N",
        help=f"images a shard (default {DEFAULT_SHARD_SIZE:,}), or rows a file of the list ({MANIFEST_ROWS:,})",
    )
    writing.add_argument("--relabel", action="store_true", help="labels become 0 .. n-1; the map is written")
    writing.add_argument(
        "--recordio-layout",
        choices=layouts_of(SAME),
        help="of --write recordio: with InsightFace's header and identity records (the default up to 2^24 records), or "
        "the images alone (as mxnet's ImageRecordIter and DALI read it)",
    )
    writing.add_argument(
        "--moved",
        nargs="+",
        default=[],
        type=_moved,
        metavar="OLD=NEW",
        help="the shards lie elsewhere now: beginnings of their URLs then and now",
    )


def _add_running(parser: argparse.ArgumentParser) -> None:
    running = parser.add_argument_group("running")
    running.add_argument("--dry-run", action="store_true", help="print what the policy would do, write nothing")
    running.add_argument("--threads", type=positive, metavar="N", help="of the decisions' engine (default: the cores)")
    running.add_argument(
        "--memory-mb", type=positive, default=MEMORY_MB, metavar="N", help=f"of that engine (default {MEMORY_MB})"
    )
    running.add_argument(
        "--workers", type=positive, metavar="N", help="worker processes on this machine for searches and subsets (1)"
    )
    again = running.add_mutually_exclusive_group()
    again.add_argument("--resume", action="store_true", help="keep finished files of an earlier run, do the others")
    again.add_argument("--overwrite", action="store_true", help="remove an earlier run first")


def _moved(text: str) -> tuple[str, str]:
    old, equals, new = text.partition("=")
    if not (old and equals and new):
        raise argparse.ArgumentTypeError(f"expected OLD=NEW, found {text!r}")
    return storage.absolute(old), storage.absolute(new)
