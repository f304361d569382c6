"""Arrow files of Hugging Face's `save_to_disk` (with `state.json` beside them), and other Arrow streams and files."""

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import IO

import pyarrow as pa

from fiqa_core.shards.arrow_ipc.flatbuffer import FlatbufferError
from fiqa_core.shards.arrow_ipc.messages import ArrowError, Batch, Lost, batches, read_schema
from fiqa_core.shards.arrow_ipc.rows import BadRowsError, BatchRows, UnreadTypeError
from fiqa_core.shards.container import Container
from fiqa_core.shards.image_columns import ColumnError, ImageColumns
from fiqa_core.shards.unit import Fault, ReadSettings, Record, Unit
from fiqa_core.storage import StorageError, StoredFile, above, exists, join, open_read, read_bytes
from schemas.reasons import Status

_log = logging.getLogger(__name__)
_STATE = "state.json"
_MOST_STATE = 64 << 20
_BLOCK = 256 << 10  # bytes a request while planning, which reads little of each batch
_DAMAGE = (BadRowsError, UnreadTypeError, FlatbufferError, pa.ArrowInvalid)


class Arrow(Container):
    """A unit is a run of rows; a record is a row, its key the image's path or its number.

    Beside a `state.json` only the files that it names are read: `datasets` leaves others there (`cache-*.arrow`).
    """

    name = "arrow_ipc"
    suffixes = (".arrow", ".feather")
    has_key_field = True
    companions = (_STATE, "dataset_info.json", "dataset_dict.json")

    def plan(self, file: StoredFile, unit_size: int, settings: ReadSettings | None = None) -> Iterator[Unit]:
        """Runs of `unit_size` rows. The descriptions of the batches are read, no row.

        Raises:
            ColumnError: `settings` are given, and the file has no column for the image, or not the one named
                for image or label.
        """
        named = _named_beside(file.url)
        own = file.url.rpartition("/")[2]
        if named is not None and own not in named:
            _log.warning("%s: passed over, since %s beside it does not name it", file.shown, _STATE)
            return
        if named and own == named[0]:
            yield from self._missing(file, named)
        try:
            with open_read(file.url, file.version, _BLOCK) as stream, closing(stream):
                schema, start = read_schema(stream)
                if settings is not None:
                    _columns(schema, settings, file.url)
                yield from self._runs(file, batches(stream, schema, start), start, unit_size)
        except ColumnError as error:
            raise ColumnError(f"{file.shown}: {error}") from error
        except ArrowError:
            yield self.whole(file)

    def class_names(self, units: Sequence[Unit], settings: ReadSettings) -> tuple[str, Sequence[str]] | None:
        """The column and the names of a ClassLabel feature, as the first readable file has them."""
        unit = next((unit for unit in units if unit.records > 0), None)
        if unit is None:
            return None
        try:
            with open_read(unit.url, "", _BLOCK) as stream, closing(stream):
                label = _columns(read_schema(stream)[0], settings, unit.url).label
        except (ColumnError, ArrowError):
            return None  # reading it will report this
        return None if label.classes is None else (label.column, label.classes)

    def read(self, unit: Unit, settings: ReadSettings) -> Iterator[Record]:
        """One record a row; a damaged row costs itself, a damaged batch its rows, and each has its record."""
        return self._read(unit, settings, None)

    def read_at(self, unit: Unit, settings: ReadSettings, wanted: Sequence[int]) -> Iterator[Record]:
        """Of other rows no image is read."""
        places = set(wanted)
        return (record for record in self._read(unit, settings, iter(wanted)) if record.index in places)

    def reads_in_place(self, unit: Unit) -> bool:  # noqa: ARG002
        """Yes: descriptions of batches are all that lies before a row."""
        return True

    def read_places(self, unit: Unit, settings: ReadSettings, places: Iterator[int]) -> Iterator[Record]:
        """As `read`; of other rows no image is read."""
        return self._read(unit, settings, (unit.first_index + place for place in places))

    def _read(self, unit: Unit, settings: ReadSettings, wanted: Iterator[int] | None) -> Iterator[Record]:
        try:
            with open_read(unit.url, unit.version) as stream, closing(stream):
                try:
                    schema, start = read_schema(stream)
                    columns = _columns(schema, settings, unit.url)
                except (ArrowError, ColumnError) as error:
                    yield Record(None, unit.first_index, None, None, Fault(Status.SHARD_UNREADABLE, str(error)))
                    return
                yield from _records(stream, unit, start, schema, columns, settings.max_stored_bytes, wanted)
        except FileNotFoundError:
            named = _named_beside(unit.url)
            if named is None or unit.url.rpartition("/")[2] not in named:
                raise
            fault = Fault(Status.SHARD_UNREADABLE, f"{_STATE} names this file, but it is not there")
            yield Record(None, unit.first_index, None, None, fault)

    def _missing(self, file: StoredFile, named: Sequence[str]) -> Iterator[Unit]:
        for name in named:
            url = join(above(file.url) or "", name)
            if not exists(url):
                shown = join(above(file.shown) or "", name)
                yield self.whole(StoredFile(shown, url, -1, ""))

    def _runs(self, file: StoredFile, parts: Iterator[Batch | Lost], start: int, unit_size: int) -> Iterator[Unit]:
        first = index = skip = 0
        begin = end = start
        for found in parts:
            rows = found.rows if isinstance(found, Batch) else 1
            end = found.end if found.end is not None else file.size
            left = rows
            if first == index:
                begin = found.at
            while index - first + left >= unit_size:
                taken = unit_size - (index - first)
                index, left = index + taken, left - taken
                yield self._unit(file, begin, end, skip, first, index)
                first, begin, skip = index, (found.at if left else end), (rows - left if left else 0)
            index += left
        if index > first or not index:
            yield self._unit(file, begin, max(end, begin), skip, first, index)

    def _unit(self, file: StoredFile, start: int, stop: int, skip: int, first: int, end: int) -> Unit:
        # `listing`: rows of the first batch that belong to the unit before.
        return Unit(
            0, self.name, file.shown, file.url, start, stop, first, end - first, -1, file.version, str(skip or "")
        )


def _columns(schema: pa.Schema, settings: ReadSettings, url: str) -> ImageColumns:
    # A column `id` numbers rows as often as people, so it is a label only if it is named.
    numbers = [name for name in schema.names if name.casefold() == "id" and name != settings.label_field]
    columns = ImageColumns(schema, settings, url, numbers)
    for name in columns.wanted:
        if pa.types.is_dictionary(schema.field(name).type):
            raise ColumnError(
                f"column {name!r} is dictionary-encoded, which is not read from Arrow files. Write it plain."
            )
    return columns


def _records(
    stream: IO[bytes],
    unit: Unit,
    start: int,
    schema: pa.Schema,
    columns: ImageColumns,
    limit: int,
    wanted: Iterator[int] | None,
) -> Iterator[Record]:
    """The records of a unit; `wanted`: only those with these `index` (ascending), and of lost stretches."""
    skip = int(unit.listing or 0)
    index = unit.first_index
    whole = unit.records < 0
    end = None if whole else index + unit.records
    following = None if wanted is None else next(wanted, None)
    for found in batches(stream, schema, start if whole else unit.start):
        if (end is not None and index >= end) or (wanted is not None and following is None):
            return
        if isinstance(found, Lost):
            yield _lost(found, index)
            index += 1
            continue
        stop = found.rows if end is None else min(found.rows, skip + end - index)
        runs = [(skip, stop)]
        if wanted is not None:
            runs = []
            while following is not None and following < index + stop - skip:
                place = following - index + skip
                runs += [(place, place + 1)] if place >= skip else []
                following = next(wanted, None)
        if runs:
            yield from _of_runs(stream, found, schema, columns, runs, index - skip, limit)
        index += stop - skip
        skip = 0
    if whole and index == unit.first_index:
        yield Record(None, index, None, None, Fault(Status.SHARD_UNREADABLE, "it holds no rows"))


def _of_runs(
    stream: IO[bytes],
    batch: Batch,
    schema: pa.Schema,
    columns: ImageColumns,
    runs: Sequence[tuple[int, int]],
    first: int,
    limit: int,
) -> Iterator[Record]:
    """Runs of rows of a batch, whose row 0 is row `first` of the file."""
    try:
        rows = BatchRows(stream, batch, schema, columns.wanted)
    except _DAMAGE as error:
        yield from (_unreadable(first + row, batch, str(error)) for run in runs for row in range(*run))
        return
    for begin, stop in runs:
        yield from _of_batch(rows, columns, begin, stop, first + begin, limit)


def _of_batch(rows: BatchRows, columns: ImageColumns, skip: int, stop: int, index: int, limit: int) -> Iterator[Record]:
    """The rows `skip` to `stop` of a batch; its row `skip` is row `index` of the file."""
    for first, end, size in rows.windows(skip, columns.image):
        if first >= stop:
            return
        at = index + first - skip
        if size > limit and end - first == 1:
            yield _too_large(rows, columns, first, at, size, limit)
        else:
            yield from _of_rows(rows, columns, first, min(end, stop), at, limit)


def _of_rows(rows: BatchRows, columns: ImageColumns, first: int, stop: int, index: int, limit: int) -> Iterator[Record]:
    try:
        found = list(columns.records(rows.read(first, stop), index, limit))
    except _DAMAGE as error:
        if stop - first == 1:
            yield _unreadable(index, rows.batch, str(error))
            return
        # One by one, so that only the damaged rows are lost.
        for place in range(first, stop):
            yield from _of_rows(rows, columns, place, place + 1, index + place - first, limit)
        return
    yield from found


def _too_large(rows: BatchRows, columns: ImageColumns, row: int, index: int, size: int, limit: int) -> Record:
    fault = Fault(Status.TOO_LARGE, f"{size} stored bytes; the limit is {limit}")
    try:
        (record,) = columns.records(rows.read(row, row + 1, without=columns.image), index, limit)
        return record._replace(fault=fault, sha256=rows.digest(row, columns.image))
    except _DAMAGE as error:
        return _unreadable(index, rows.batch, str(error))


def _unreadable(index: int, batch: Batch, reason: str) -> Record:
    message = f"the batch at byte {batch.at}: {' '.join(reason.split())[:500]}"
    return Record(str(index), index, None, None, Fault(Status.UNREADABLE, message))


def _lost(found: Lost, index: int) -> Record:
    if found.end is not None:
        message = f"bytes {found.at} to {found.end} hold no batch that can be read; their rows are lost"
        return Record(f"@{found.at}", index, None, None, Fault(Status.CORRUPT, message))
    message = f"the file ends at byte {found.at} without the mark of its end; rows behind that are lost"
    return Record(None, index, None, None, Fault(Status.SHARD_TRUNCATED, message))


def _named_beside(url: str) -> list[str] | None:
    """The files that the `state.json` beside a file names; None if there is none."""
    folder = above(url)
    if folder is None:
        return None
    try:
        state = json.loads(read_bytes(join(folder, _STATE), _MOST_STATE))
        names = [each["filename"] for each in state["_data_files"]]
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, KeyError, TypeError, RecursionError):
        _log.warning("%s: not a list of the files beside it; all are read", join(folder, _STATE))
        return None
    except StorageError:
        return None
    safe = [name for name in names if isinstance(name, str) and "/" not in name and name not in ("", ".", "..")]
    return safe if len(safe) == len(names) else None
