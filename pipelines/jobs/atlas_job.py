"""What atlas_dataset does once its command line is read."""

import argparse
import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from importlib import metadata
from typing import Any

from fiqa_core import storage
from fiqa_core.atlas.atlas_run import begin, finish, prepare_output
from fiqa_core.atlas.layout import Layout, place, require_open_tsne
from fiqa_core.atlas.points import Points, read_points
from fiqa_core.atlas.rows import extra_columns
from fiqa_core.atlas.settings import AtlasSettings
from fiqa_core.atlas.table import Missing, Sources, write_atlas
from fiqa_core.report.decided import read_decided
from fiqa_core.runs.layout import ATLAS, ATLAS_KIND
from fiqa_core.runs.lock import hold_output
from fiqa_core.tables.embedding_files import EmbeddingSource, embedding_files, source_files
from fiqa_core.tables.footers import footer_digest
from fiqa_core.tables.quality_files import TableFile, parts_of
from fiqa_core.tables.whole_tables import described, whole_files, whole_tables
from fiqa_core.wording import counted
from pipelines.cli.errors import OptionError
from pipelines.cli.exit_codes import EXIT_INCOMPLETE, EXIT_OK
from pipelines.cli.log_format import report
from pipelines.cli.program import called
from pipelines.jobs.filter_settings import embedding_source
from schemas import versions

_log = logging.getLogger("atlas_dataset")
_LIBRARIES = ("openTSNE", "numpy", "scikit-learn")


def run(arguments: argparse.Namespace, rest: Sequence[str]) -> int:  # noqa: ARG001  # the parser refuses what is left
    """Make the atlas."""
    require_open_tsne()
    whole = whole_tables(arguments.quality, arguments.allow_incomplete)
    parts = parts_of(whole.urls)
    source, gaps = _embeddings(arguments, parts)
    decided = read_decided(storage.absolute(arguments.decisions), parts) if arguments.decisions else None
    settings = AtlasSettings(
        arguments.sample,
        arguments.seed,
        arguments.perplexity,
        arguments.side,
        tuple(dict.fromkeys(arguments.columns)),
    )
    extra_columns(settings.columns, parts, decided)  # refused before hours of work
    sources = Sources(parts, tuple(arguments.quality), tuple(arguments.moved), decided)
    output = storage.absolute(arguments.output)
    with hold_output(output):
        prepare_output(output, arguments.resume, arguments.overwrite)
        made = _description(settings, sources, source)
        finished = begin(output, made, arguments.overwrite)
        if finished is not None:
            _log.info("the atlas in %s is finished already: nothing to do", arguments.output)
            summary = finished
        else:
            unknown: dict[str, Any] = {"incomplete": described(whole.gaps)} if whole.gaps else {}
            unknown |= {"incomplete_embeddings": described(gaps)} if gaps else {}
            unknown |= {"samples": list(whole.samples)} if whole.samples else {}
            summary = _make(output, settings, sources, source, made, unknown)
    _say(arguments, summary)
    return EXIT_OK if not summary["thumbnails_missing"] else EXIT_INCOMPLETE


def _embeddings(arguments: argparse.Namespace, parts: Sequence[TableFile]) -> tuple[EmbeddingSource, tuple[Any, ...]]:
    """Where the embeddings are, and what is missing in their tables.

    Raises:
        OptionError: there are none. TableError: tables of embeddings that are not whole, or of several networks.
    """
    source = embedding_source(arguments, parts)
    if source is None:
        raise OptionError(
            f"no embeddings: write them with {called('embed_dataset')} and give its output by --embeddings (or score "
            "with --embedding-type float16)"
        )
    if source.kind in ("npy", "column"):
        return source, ()
    whole = whole_files(source_files(source), arguments.allow_incomplete, "embeddings")
    return replace(source, places=tuple(whole.urls)), whole.gaps


def _description(settings: AtlasSettings, sources: Sources, source: EmbeddingSource) -> dict[str, Any]:
    """All that decides what is written, for `run.json` and the metadata of the file."""
    return {
        "kind": ATLAS_KIND,
        "atlas_version": versions.ATLAS_VERSION,
        "package_version": versions.PACKAGE_VERSION,
        "settings": settings.to_dict(),
        "libraries": {name: metadata.version(name) for name in _LIBRARIES},
        "quality": [[part.name, part.rows, footer_digest(part.url)] for part in sources.parts],
        "embeddings": {
            "kind": source.kind,
            "column": source.column,
            "join": source.join,
            "files": [[url.rpartition("/")[2], digest] for url, digest in _digests(source, sources.parts)],
        },
        "decisions": None if sources.decided is None else sources.decided.run.get("digest"),
    }


def _digests(source: EmbeddingSource, parts: Sequence[TableFile]) -> Iterator[tuple[str, str]]:
    """The files of the embeddings, each with a digest; none where they are a column of the quality table."""
    if source.kind == "npy":
        for url in (*source.places, source.keys):
            with storage.open_read(url) as stream:
                yield url, hashlib.file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type]
    elif source.kind != "column":
        for file in embedding_files(source, parts):
            yield file.url, footer_digest(file.url)


def _make(
    output: str,
    settings: AtlasSettings,
    sources: Sources,
    source: EmbeddingSource,
    made: Mapping[str, Any],
    unknown: Mapping[str, Any],
) -> dict[str, Any]:
    points = read_points(sources.parts, source, settings.points, settings.seed)
    _log.info("placing %s by openTSNE, in one thread", counted(len(points.rids), "face"))
    layout = place(points.vectors, settings.seed, settings.perplexity)
    facts = _facts(points, layout, settings)
    with storage.temporary_for(output) as path:
        written = write_atlas(path, sources, points.rids, layout.xy, settings, {**made, **facts})
        _name_missing(written.missing, written.named)
        return finish(output, path, {**made, **facts, **unknown, "thumbnails_missing": written.missing})


def _facts(points: Points, layout: Layout, settings: AtlasSettings) -> dict[str, Any]:
    return {
        "rows": points.rows,
        "with_embedding": points.usable,
        "points": len(points.rids),
        "sampled": points.usable > len(points.rids),
        "seed": settings.seed,
        "left_out": dict(points.left_out),
        "method": layout.method,
        "perplexity": layout.perplexity,
    }


def _name_missing(count: int, named: Sequence[Missing]) -> None:
    for face in named:
        _log.warning("%s: %s: %s", face.shard, face.key, face.problem)
    if count > len(named):
        _log.warning("... and %s more", counted(count - len(named), "image"))


def _say(arguments: argparse.Namespace, summary: Mapping[str, Any]) -> None:
    rows, points = counted(summary["rows"], "row"), counted(summary["points"], "point")
    report([f"{rows}: {summary['with_embedding']:,} with an embedding, {points} placed ({summary['method']})"])
    if summary["sampled"]:
        settings = summary["settings"]
        report([f"a sample: {points} of {summary['with_embedding']:,} (--sample {settings['points']} "
                f"--seed {settings['seed']})"])  # fmt: skip
    for reason, count in summary["left_out"].items():
        report([f"  not on the map: {reason:<24}{count:>9,}"])
    if summary["thumbnails_missing"]:
        without = counted(summary["thumbnails_missing"], "point has", "points have")
        report([f"{without} no picture: the image is missing or changed; the column thumbnail_problem says why"])
    file = storage.join(arguments.output, ATLAS)
    report(
        [
            f"written: {file} ({points})",
            f"next: embedding-atlas {file} --x x --y y --image thumbnail --disable-projection   # docs/atlas.md",
        ]
    )
