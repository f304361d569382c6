"""What show_faces does once its command line is read."""

import argparse
import io
import logging
from collections.abc import Iterator, Sequence

import pyarrow as pa
from PIL import Image

from fiqa_core import storage
from fiqa_core.tables.contact_sheet import SheetError, contact_sheet
from fiqa_core.tables.faces import Face, read_faces
from fiqa_core.tables.footers import read_footer
from fiqa_core.tables.one_network import networks_of, refuse_mixed
from fiqa_core.tables.quality_files import table_files
from fiqa_core.tables.row_query import chosen_rows
from fiqa_core.wording import counted
from pipelines.cli.errors import OptionError
from pipelines.cli.exit_codes import EXIT_INCOMPLETE, EXIT_OK
from pipelines.cli.log_format import report

_log = logging.getLogger("show_faces")
_NAMED = 20
_FOOTERS_AT_ONCE = 16
# WebP's own limit; JPEG's is four times that.
_MOST_SIDE = {"WEBP": 16_383, "JPEG": 65_500}


def run(arguments: argparse.Namespace, rest: Sequence[str]) -> int:  # noqa: ARG001  # the parser refuses what is left
    """Show faces."""
    output = storage.absolute(arguments.output)
    if storage.exists(output) and not arguments.overwrite:
        raise OptionError(f"--output {arguments.output}: is there already. Choose another name, or --overwrite.")
    rows = _rows(arguments)
    if not rows.num_rows:
        fits = f" that fits --where {arguments.where!r}" if arguments.where else ""
        raise OptionError(f"there is no row{fits}: nothing was written")
    lost: list[Face] = []
    faces = _watched(read_faces(rows, arguments.quality, arguments.moved), lost)
    sheet = contact_sheet(faces, rows.num_rows, arguments.per_row or 0, arguments.side)
    storage.publish_alone(_encoded(sheet, arguments.output), output)
    for face in lost[:_NAMED]:
        _log.warning("%s: %s: %s", face.row.get("shard"), face.row.get("key"), face.problem)
    if len(lost) > _NAMED:
        _log.warning("... and %s more", counted(len(lost) - _NAMED, "image"))
    report([f"written: {arguments.output} ({counted(rows.num_rows, 'face')}, {sheet.width} x {sheet.height} pixels)"])
    if lost:
        report([f"of {counted(len(lost), 'face')} the image is missing or changed; the sheet shows the reason"])
    return EXIT_INCOMPLETE if lost else EXIT_OK


def _rows(arguments: argparse.Namespace) -> pa.Table:
    tables = [arguments.decisions] if arguments.decisions else arguments.quality
    if len(tables) > 1 and arguments.order:
        raise OptionError("--order is for one table: give one --quality, or --decisions")
    if len(tables) > 1 and arguments.where:
        _refuse_two_scales(tables)
    found: list[pa.Table] = []
    left = arguments.limit
    for table in tables:
        rows = chosen_rows(table, arguments.where, arguments.order, left, arguments.allow_incomplete)
        found.append(rows)
        left -= rows.num_rows
        if not left:
            break
    return pa.concat_tables(found, promote_options="permissive")


def _refuse_two_scales(tables: Sequence[str]) -> None:
    """Refuse one condition over scores of several networks, unless all were calibrated on one set.

    Raises:
        TableError: it names the settings and both values.
    """
    names = {url: table for table in tables for url in table_files(table)}
    footers = list(storage.in_flight(list(names), read_footer, _FOOTERS_AT_ONCE))
    if networks_of(footers) > 1:
        refuse_mixed(footers, names, embeddings_only=False, calibrated=True)


def _watched(faces: Iterator[Face], lost: list[Face]) -> Iterator[Face]:
    """The faces; those whose image was there when it was scored, and is not now, are remembered."""
    for face in faces:
        if face.data is None and (face.row.get("sha256") is not None or face.row.get("status") == "scored"):
            lost.append(face)
        yield face


def _encoded(sheet: Image.Image, name: str) -> bytes:
    kind = {"png": "PNG", "webp": "WEBP"}.get(name.lower().rpartition(".")[2], "JPEG")
    if max(sheet.size) > _MOST_SIDE.get(kind, max(sheet.size)):
        raise SheetError(f"{name}: {sheet.width} x {sheet.height} pixels are too many for {kind}: write a .png")
    stream = io.BytesIO()
    sheet.save(stream, kind, quality=90)
    return stream.getvalue()
