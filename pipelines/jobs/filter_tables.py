"""The input tables of filter_dataset, checked: each is complete, all are of one network, none is there twice."""

import argparse
import logging
from collections.abc import Sequence
from dataclasses import replace

from fiqa_core import storage
from fiqa_core.curation.decisions.apply_policy import Tables
from fiqa_core.curation.decisions.review import read_review
from fiqa_core.curation.decisions.reviewed_labels import with_reviewed_labels
from fiqa_core.storage import in_flight
from fiqa_core.tables.attached_labels import attach, read_label_list
from fiqa_core.tables.calibration_reach import reaches
from fiqa_core.tables.embedding_files import EmbeddingSource, source_files
from fiqa_core.tables.footers import footer_digest, read_footer
from fiqa_core.tables.groups import read_groups
from fiqa_core.tables.one_network import networks_of, refuse_mixed
from fiqa_core.tables.quality_files import TableError, TableFile, parts_of
from fiqa_core.tables.whole_tables import whole_files, whole_tables
from pipelines.jobs.filter_settings import embedding_source

_log = logging.getLogger("filter_dataset")


def read_tables(arguments: argparse.Namespace) -> Tables:
    """The tables of --quality and --against, without findings.

    Raises:
        TableError: a table that is not whole, of another network than the others, or there twice.
    """
    quality = whole_tables(arguments.quality, arguments.allow_incomplete, "calibrated")
    others = whole_tables(arguments.against, arguments.allow_incomplete, "nothing")
    own = parts_of(quality.urls)
    if arguments.labels is not None:
        own = attach(own, read_label_list(arguments.labels, arguments.labels_key, arguments.labels_column))
    review = read_review(storage.absolute(arguments.review)) if arguments.review else None
    own = with_reviewed_labels(own, review)
    against = parts_of(others.urls, after=own)
    if len(arguments.quality) > 1 or against:
        _refuse_repeated(own, against)
    elsewhere = {"against": others.gaps} if others.gaps else {}
    groups = None
    if arguments.group_by is not None:
        groups = read_groups(arguments.group_by, own, arguments.group_key, arguments.group_column)
    found = reaches(quality.files)
    for warning in filter(None, (each.warning for each in found)):
        _log.warning("%s", warning)
    scale = "percentile" if networks_of(quality.files) > 1 else "quality"
    return Tables(
        own,
        against,
        gaps=quality.gaps,
        gaps_elsewhere=elsewhere,
        samples=quality.samples,
        scale=scale,
        review=review,
        groups=groups,
        reaches=found,
    )


def read_embedding_source(arguments: argparse.Namespace, tables: Tables) -> tuple[EmbeddingSource | None, Tables]:
    """Where the embeddings are, and the tables with what the embeddings lack.

    Raises:
        TableError: tables of embeddings that are not whole, or not of one network. OptionError: see
            `embedding_source`.
    """
    source = embedding_source(arguments, tables.own)
    if source is None or source.kind == "npy":
        return source, tables
    if source.kind == "column":
        if tables.against or tables.scale != "quality":
            urls = [part.url for part in (*tables.own, *tables.against)]
            refuse_mixed(list(in_flight(urls, read_footer)), {}, embeddings_only=True)
        return source, tables
    whole = whole_files(source_files(source), arguments.allow_incomplete, "embeddings")
    if whole.gaps:
        tables = replace(tables, gaps_elsewhere={**tables.gaps_elsewhere, "embeddings": whole.gaps})
    return replace(source, places=tuple(whole.urls)), tables


def _refuse_repeated(own: Sequence[TableFile], against: Sequence[TableFile]) -> None:
    """Refuse one table under two names (a link, a copy): each of its rows would be its own duplicate."""
    parts = [part for part in (*own, *against) if part.rows]
    seen: dict[str, TableFile] = {}
    for part, digest in zip(parts, in_flight([p.url for p in parts], footer_digest), strict=True):
        other = seen.setdefault(digest, part)
        if other is not part:
            where = "both --quality and --against" if part.number >= len(own) > other.number else "the tables twice"
            raise TableError(f"{part.url}: is in {where} (also as {other.url}). Name each table once.")
