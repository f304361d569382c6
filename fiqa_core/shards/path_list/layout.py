"""What the rows of a list mean: which cell is the path, which the label, and where relative paths begin."""

import csv
import re
from collections.abc import Sequence
from typing import IO, NamedTuple

from fiqa_core.shards.container import UnfitShardError
from fiqa_core.shards.label_text import LABEL_FIELDS, hints, names_in, trimmed, whole_number
from fiqa_core.shards.names import is_image, shortened
from fiqa_core.shards.path_list.lines import MOST_LINE_BYTES, is_other_encoding, rows
from fiqa_core.shards.unit import ReadSettings
from fiqa_core.storage import above, exists, join, without_query

PATH_FIELDS = (
    *("path", "image_path", "img_path", "file_path", "filepath", "image", "img", "file", "file_name", "filename"),
    *("image_file", "img_file", "url", "image_url", "uri", "key", "name", "image_name", "img_name", "image_id"),
)
_DELIMITERS = (",", ";", "\t", "|")
_FOLDER_NAMES = "folder names"
# It numbers rows as often as it names a person, so it is a label only if it is named.
_NO_LABELS = frozenset({"id"})
_SCORE = re.compile(r"[-+]?(\d*\.\d+|\d+\.\d*|\d+)([eE][-+]?\d+)?")
_ORIGINAL = re.compile(r"(?:^|/)quality_data/[^/]+$")


class Layout(NamedTuple):
    """The meaning of a list's rows.

    Attributes:
        delimiter: between cells; "" where a line is a path, maybe with a label behind it.
        path, label: places of the cells; None: no such cell.
        source: where labels come from, in words; without a label column the columns that look like one.
        start: byte behind the header. base: the folder of relative paths.
        first: the first path.
    """

    delimiter: str
    path: int
    label: int | None
    source: str
    start: int
    base: str
    first: str

    def of(self, cells: Sequence[str]) -> tuple[str, str | None]:
        """(path, label) of a row; "" if it has no cell for the path."""
        if not self.delimiter:
            return split_line(cells[0])
        path = cells[self.path].strip() if self.path < len(cells) else ""
        if self.label is None or self.label >= len(cells):
            return path, None
        return path, whole_number(trimmed(cells[self.label])) or None


class EmptyListError(UnfitShardError):
    """The list has no row."""


def find_layout(stream: IO[bytes], url: str, settings: ReadSettings) -> Layout:
    """The layout of a list, by its name and its first rows.

    Raises:
        UnfitShardError: it names no image, or has not the column that was named.
    """
    stream.seek(0)
    if is_other_encoding(stream.read(4)):
        raise UnfitShardError("it is not UTF-8 (UTF-16, as Windows writes it?). Save it as UTF-8.")
    first = next(rows(stream, 0, None, ""), None)
    if first is None:
        raise EmptyListError("the list is empty. Expected a path a line, or a CSV file with a column of paths.")
    text = first.cells[0] if first.cells else ""
    delimiter = _delimiter(text, without_query(url).lower())
    if not delimiter:
        path = split_line(text)[0]
        if not _is_place(path):
            raise UnfitShardError(
                f"its first line is {shortened(text, 100)!r}, not the path of an image (.jpg, .png ...). Expected a "
                "path a line, or a CSV file with a column of paths and a header."
            )
        _refuse_label_field(settings)
        return Layout("", 0, None, _FOLDER_NAMES, first.at, _base(url, path), path)
    return _of_table(stream, delimiter, url, settings)


def split_line(line: str) -> tuple[str, str | None]:
    """(path, label) of a line of a plain list: `path`, or `path label` with a space, tab or comma between them.

    Paths may have spaces: the line is cut only where it does not end as the name of an image does. A number with a
    point is a score (as in the original's score files), and not a label.
    """
    line = line.strip()
    if is_image(without_query(line)) and "\t" not in line:
        return line, None
    for separator in ("\t", ",", None):
        path, label = _halves(line, separator)
        if label and is_image(without_query(path)):
            return path, None if "." in label and _SCORE.fullmatch(label) else label
    return line, None


def _halves(line: str, separator: str | None) -> tuple[str, str]:
    parts = line.split(separator, 1) if separator == "\t" else line.rsplit(separator, 1)
    return (parts[0].strip(), parts[1].strip()) if len(parts) == 2 else (line, "")


def _delimiter(line: str, name: str) -> str:
    """The delimiter of a table, "" of a plain list."""
    cells = {each: [cell.strip() for cell in next(csv.reader([line], delimiter=each), [])] for each in _DELIMITERS}
    best = max(_DELIMITERS, key=lambda each: len(cells[each]))
    if name.endswith((".csv", ".tsv")):
        return best if len(cells[best]) > 1 else ","
    headed = len(cells[best]) > 1 and names_in(cells[best], PATH_FIELDS) and not any(map(is_image, cells[best]))
    return best if headed else ""


def _of_table(stream: IO[bytes], delimiter: str, url: str, settings: ReadSettings) -> Layout:
    found = rows(stream, 0, None, delimiter)
    header = next(found)
    names = [cell.strip() for cell in header.cells]
    start, first = header.at, header
    if headless := next((place for place, cell in enumerate(names) if _is_place(cell)), None) is not None:
        path = next(place for place, cell in enumerate(names) if _is_place(cell))
        label = 1 - path if len(names) == 2 else None
        _refuse_label_field(settings)
    else:
        path, label = _path_column(names, settings), None
        label = _label_column(names, path, settings)
        start = header.end
        first = next(found, header)
    source = _FOLDER_NAMES
    if label is not None:
        source = f"column {label + 1}" if headless else f"column {names[label]!r}"
    layout = Layout(delimiter, path, label, source, start, "", "")
    place = "" if first is header and not headless else layout.of(first.cells)[0]
    return layout._replace(base=_base(url, place), first=place)


def _path_column(names: Sequence[str], settings: ReadSettings) -> int:
    if settings.image_field:
        if names.count(settings.image_field) == 1:
            return names.index(settings.image_field)
        raise UnfitShardError(
            f"{settings.image_field!r} cannot be the column of paths. {_listed(names)} Name another with --image-field."
        )
    found = names_in(names, PATH_FIELDS)
    if found:
        return names.index(found[0])
    raise UnfitShardError(f"it has no column of paths, such as `path` or `file`. {_listed(names)} See --image-field.")


def _label_column(names: Sequence[str], path: int, settings: ReadSettings) -> int | None:
    if settings.label_field:
        if names.count(settings.label_field) == 1:
            return names.index(settings.label_field)
        raise UnfitShardError(
            f"{settings.label_field!r} cannot be the label column. {_listed(names)} Columns that look like a label: "
            f"{hints(names) or 'none'}. Name another with --label-field."
        )
    others = [name for place, name in enumerate(names) if place != path and name.casefold() not in _NO_LABELS]
    found = names_in(others, LABEL_FIELDS)
    return names.index(found[0]) if found else None


def _refuse_label_field(settings: ReadSettings) -> None:
    if settings.label_field:
        raise UnfitShardError(
            f"--label-field {settings.label_field!r} names a column, but the list has no header. Add one, or leave the "
            "option out."
        )


def _listed(names: Sequence[str]) -> str:
    return f"Columns: {shortened(', '.join(names[:20]), 500)}."


def _is_place(cell: str) -> bool:
    return is_image(without_query(cell.strip())) or "://" in cell[:20]


def _base(url: str, first: str) -> str:
    """The folder of a list; for a list of the original (`quality_data/NAME/image_path_list.txt`), whose paths begin at
    the folder above `quality_data`, that folder, if the first image is there."""
    folder = above(without_query(url)) or url
    if first and "://" not in first and len(first) < MOST_LINE_BYTES and _ORIGINAL.search(folder):
        original = above(above(folder) or "")
        if original and ".." not in first and exists(join(original, first)) and not exists(join(folder, first)):
            return original
    return folder
