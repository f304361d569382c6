"""What the options of filter_dataset mean: where embeddings come from, what is searched for, what is written."""

import argparse
from collections.abc import Sequence

from fiqa_core import storage
from fiqa_core.curation.decisions.filter_run import Writing
from fiqa_core.curation.decisions.policy import Policy
from fiqa_core.curation.findings.settings import FindingsSettings
from fiqa_core.curation.subset.settings import DEFAULT_SHARD_SIZE, is_subset
from fiqa_core.tables.embedding_files import EmbeddingSource
from fiqa_core.tables.quality_files import TableError, TableFile, find_parts
from pipelines.cli.errors import OptionError
from pipelines.cli.filter_options import MANIFEST_ROWS, OWN_COLUMN
from pipelines.cli.program import called


def embedding_source(arguments: argparse.Namespace, own: Sequence[TableFile]) -> EmbeddingSource | None:
    """Where the embeddings are: as the options say, else the tables' own column if all have one, else None.

    Raises:
        OptionError: options that do not go together.
    """
    places = tuple(place if place == OWN_COLUMN else storage.absolute(place) for place in arguments.embeddings)
    foreign = arguments.embedding_column or arguments.embedding_join or arguments.embedding_join_column
    if not places:
        if foreign or arguments.embedding_keys:
            raise OptionError("--embedding-column, -join, -join-column and -keys say more of --embeddings; give that")
        has_own = bool(own) and all(part.embedding_dim for part in own)
        return EmbeddingSource() if has_own else None
    if OWN_COLUMN in places:
        if len(places) > 1 or foreign or arguments.embedding_keys:
            raise OptionError(f"--embeddings {OWN_COLUMN} is the tables' own column; nothing else goes with it")
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
            f"the policy {asked}, which takes face recognition embeddings. Write them with {called('embed_dataset')} "
            "and give its output by --embeddings (or --near-by phash, --findings)."
        )
    if not labels and near is None:
        return None
    return FindingsSettings(policy.label_search if labels else None, near)


def writing_of(arguments: argparse.Namespace) -> Writing:
    """What is written of the kept rows."""
    default = DEFAULT_SHARD_SIZE if is_subset(arguments.write) else MANIFEST_ROWS
    return Writing(arguments.write, arguments.shard_size or default, arguments.relabel, arguments.recordio_layout or "")
