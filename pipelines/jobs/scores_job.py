"""What export_scores and import_scores do once their command lines are read."""

import argparse
import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq

from fiqa_core import storage
from fiqa_core.curation.table_csv import csv_columns, write_csv
from fiqa_core.evaluation import score_files
from fiqa_core.evaluation.sources import read_qualities
from fiqa_core.runs.layout import PLAN, QUALITY
from fiqa_core.tables.quality_files import TableFile, parts_of
from fiqa_core.tables.whole_tables import whole_tables
from fiqa_core.wording import counted
from pipelines.cli.errors import OptionError
from pipelines.cli.exit_codes import EXIT_OK
from pipelines.cli.log_format import report

_log = logging.getLogger("export_scores")


def export(arguments: argparse.Namespace, rest: Sequence[str]) -> int:  # noqa: ARG001  # nothing is passed on
    """Write a table as a score file or as CSV."""
    if arguments.to == "csv" and (arguments.list is not None or arguments.unscored != "error"):
        raise OptionError("--list and --unscored are for --to scores; a CSV file has every row, with its status")
    if arguments.to == "scores" and arguments.columns:
        raise OptionError("--columns is for --to csv; a score file has paths and scores")
    place = storage.absolute(arguments.output)
    if storage.is_folder(place) or (storage.stat(place) is not None and not arguments.overwrite):
        raise OptionError(f"--output {arguments.output}: exists already. Name another file, or give --overwrite.")
    parts = parts_of(whole_tables(arguments.quality, arguments.allow_incomplete).urls)
    folder = place.rpartition("/")[0] or "/"
    with storage.temporary_for(folder) as path:
        said = _write(arguments, parts, path)
        storage.publish(path, place)
    storage.sweep(folder)
    report([f"written: {arguments.output} ({said})"])
    return EXIT_OK


def _write(arguments: argparse.Namespace, parts: Sequence[TableFile], path: Path) -> str:
    if arguments.to == "csv":
        return counted(write_csv(parts, csv_columns(parts, arguments.columns), path), "row")
    if arguments.list is None:
        found = score_files.write_scores(parts, path, arguments.unscored)
    else:
        if len(arguments.quality) > 1:
            raise OptionError("--list finds its paths in one table: give one --quality")
        names = _names(arguments.list)
        scores = read_qualities(arguments.quality[0], arguments.allow_incomplete)
        found = score_files.write_listed_scores(scores, names, path, arguments.unscored)
    without = found.without.total()
    if without:
        what = "left out" if arguments.unscored == "leave-out" else "written as nan"
        _log.warning("%s no score: %s", counted(without, "image has", "images have"), what)
    return counted(found.lines, "score")


def import_scores(arguments: argparse.Namespace, rest: Sequence[str]) -> int:  # noqa: ARG001
    """Write a quality table of a score file."""
    output = storage.absolute(arguments.output)
    if storage.list_names(output):
        raise OptionError(f"--output {arguments.output}: is not empty. Choose another folder.")
    scores = read_qualities(arguments.scores)
    joined = score_files.Joined()
    if arguments.like is None:
        tables = iter([("part-000000.parquet", score_files.table_of(scores))])
    else:
        parts = parts_of(whole_tables([arguments.like], arguments.allow_incomplete).urls)
        _copy_plan(parts[0], output)
        with storage.open_read(arguments.scores) as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type]
        tables = score_files.tables_like(parts, scores, digest, joined)
    rows = 0
    for name, table in tables:
        rows += table.num_rows
        with storage.temporary_for(output) as path:
            pq.write_table(table, path, compression="zstd", write_page_checksum=True)
            storage.publish(path, storage.join(output, QUALITY, name))
    storage.sweep(output)
    if joined.unused:
        unused = counted(joined.unused, "score is of an image", "scores are of images")
        _log.warning("%s not in the table of --like", unused)
    report([f"written: {arguments.output} ({counted(rows, 'row')})"])
    return EXIT_OK


def _copy_plan(part: TableFile, output: str) -> None:
    """Put the plan of a table beside a copy of it: it shows that the copy is complete, and where the images are."""
    folder = storage.above(part.url.rpartition("/")[0])
    for name in storage.list_names(storage.join(folder, PLAN)) if folder is not None else []:
        if name.endswith((".parquet", ".json")):
            storage.publish_bytes(
                storage.read_bytes(storage.join(str(folder), PLAN, name)), output, storage.join(output, PLAN, name)
            )


def _names(url: str) -> list[str]:
    try:
        text = storage.read_bytes(url).decode("utf-8-sig")
    except FileNotFoundError as error:
        raise OptionError(f"--list {url}: no such file") from error
    except UnicodeDecodeError as error:
        raise OptionError(f"--list {url}: not valid UTF-8 (at byte {error.start:,})") from error
    names = [line.strip() for line in text.split("\n") if line.strip()]
    if not names:
        raise OptionError(f"--list {url}: lists no images. Expected one path a line.")
    return names
