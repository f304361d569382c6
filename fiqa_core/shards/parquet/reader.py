"""Parquet with image bytes: a struct column {bytes, path} as Hugging Face writes it, or a binary column."""

import bisect
import hashlib
from collections.abc import Iterator, Sequence, Set

import pyarrow as pa
import pyarrow.parquet as pq

from fiqa_core.shards.column_labels import LabelColumn, find_label, has_column, is_bytes, is_text, plain, texts
from fiqa_core.shards.container import Container, UnfitShardError, picked
from fiqa_core.shards.label_text import names_in
from fiqa_core.shards.names import MAX_LABEL_CHARACTERS, MAX_NAME_CHARACTERS, shortened
from fiqa_core.shards.parquet.groups import FOOTER_BLOCK, RowGroups, is_store_failure
from fiqa_core.shards.parquet.row_numbers import mark_row_numbers, passed_over
from fiqa_core.shards.parquet.writer import ParquetShards
from fiqa_core.shards.unit import Fault, ReadSettings, Record, Unit
from fiqa_core.storage import StorageError, StoredFile, open_read
from fiqa_core.wording import counted, one_line
from schemas.reasons import Status

IMAGE_FIELDS = ("image", "img", "jpg", "jpeg", "png", "webp", "image_bytes", "bytes", "data")
KEY_FIELDS = ("key", "__key__", "path", "file_name", "filename", "image_path")


class ColumnError(UnfitShardError):
    """The file has no column that can be the image or the label (or the one that was named cannot)."""


class Parquet(Container):
    """A unit is a run of row groups or of rows of one; a record is a row, its key the image's path or its number."""

    name = "parquet"
    has_key_field = True
    suffixes = (".parquet", ".pq")
    output = ParquetShards()

    def plan(self, file: StoredFile, unit_size: int, settings: ReadSettings | None = None) -> Iterator[Unit]:
        """Whole row groups, until a unit has at least `unit_size` rows; a group of twice as many is cut by rows.

        Raises:
            ColumnError: `settings` are given, and the file has no column for the image, or not the one named
                for image or label.
        """
        try:
            with open_read(file.url, file.version, FOOTER_BLOCK) as stream:
                groups = RowGroups(stream)
                if settings is not None:
                    _Columns(groups.schema, settings, file.url)
        except ColumnError as error:
            raise ColumnError(f"{file.shown}: {error}") from error
        except Exception as error:
            if is_store_failure(error):
                raise
            # Reading it will fail in the same way and give the shard's row, with the reason.
            yield self.whole(file)
            return
        for run in groups.runs(unit_size):
            yield Unit(
                0, self.name, file.shown, file.url, run.start, run.stop, run.first, run.rows, run.size, file.version
            )

    def settle(self, units: Sequence[Unit], settings: ReadSettings) -> Sequence[Unit]:
        """Exclude columns that only number rows from being the label, in all shards alike."""
        return mark_row_numbers(units, settings)

    def class_names(self, units: Sequence[Unit], settings: ReadSettings) -> tuple[str, Sequence[str]] | None:
        """The column and the names of a ClassLabel feature, as the first readable shard has them."""
        unit = next((unit for unit in units if unit.records > 0), None)
        if unit is None:
            return None
        try:
            with open_read(unit.url, "", FOOTER_BLOCK) as stream:
                schema = pq.ParquetFile(stream).schema_arrow
                label = find_label(schema, settings.label_field, settings.image_field, unit.url)
        except StorageError:
            raise
        except (pa.ArrowException, OSError, EOFError, UnicodeDecodeError, KeyError):
            return None  # reading it will report this
        return None if label.classes is None else (label.column, label.classes)

    def read_at(self, unit: Unit, settings: ReadSettings, wanted: Sequence[int]) -> Iterator[Record]:
        """The row groups that have the rows: Arrow cannot enter one in the middle."""
        if unit.records < 0:
            yield from picked(self, unit, settings, wanted)
            return
        with open_read(unit.url, unit.version) as stream:
            try:
                groups = RowGroups(stream)
                columns = _Columns(groups.schema, settings, unit.url, passed_over(unit))
            except Exception as error:
                if is_store_failure(error):
                    raise
                return
            first = place = 0
            for group, rows in enumerate(groups.rows):
                stop = bisect.bisect_left(wanted, first + rows)
                if stop > place:
                    here = wanted[place:stop]
                    begin, end = here[0], here[-1] + 1
                    limit = settings.max_stored_bytes
                    yield from _read_group(groups, group, columns, begin, end, begin - first, limit, frozenset(here))
                place, first = stop, first + rows

    def read(self, unit: Unit, settings: ReadSettings) -> Iterator[Record]:
        """One record a row. Damage costs the rows behind it in its row group; each gets a record with the reason."""
        with open_read(unit.url, unit.version) as stream:
            try:
                groups = RowGroups(stream)
                columns = _Columns(groups.schema, settings, unit.url, passed_over(unit))
            except Exception as error:
                if is_store_failure(error):
                    raise
                yield Record(None, unit.first_index, None, None, Fault(Status.SHARD_UNREADABLE, one_line(error, 1000)))
                return
            if unit.records < 0:
                raise StorageError(f"{unit.url}: could not be read when it was planned; start the run again")
            end = unit.first_index + unit.records
            if unit.stop > len(groups.rows) or end > sum(groups.rows[: unit.stop]):
                raise StorageError(f"{unit.url}: has fewer rows than when it was planned; start the run again")
            first = sum(groups.rows[: unit.start])
            for group in range(unit.start, unit.stop):
                stop = min(end, first + groups.rows[group])
                skip = max(0, unit.first_index - first)
                yield from _read_group(groups, group, columns, first + skip, stop, skip, settings.max_stored_bytes)
                first += groups.rows[group]


def _read_group(
    groups: RowGroups, group: int, columns: "_Columns", index: int, stop: int, skip: int, limit: int,
    wanted: Set[int] | None = None,
) -> Iterator[Record]:  # fmt: skip
    """The rows `index` to `stop` of the file, which lie in this group behind its first `skip` rows; `wanted`: only
    these of them."""
    try:
        batches = groups.batches(group, columns.wanted, skip)
        while index < stop and (batch := next(batches, None)) is not None:
            batch = batch.slice(0, stop - index)
            if wanted is not None:
                chosen = [place for place in range(len(batch)) if index + place in wanted]
                for place in chosen:
                    yield from columns.records(batch.slice(place, 1), index + place, limit)
                index += len(batch)
                continue
            for row in columns.records(batch, index, limit):
                yield row
                index += 1
        rows = counted(groups.rows[group], "row is", "rows are")
        reason = f"{rows} named in the footer, but its pages end before this one"
    except Exception as error:
        if is_store_failure(error):
            raise
        reason = one_line(error, 1000)
    for lost in range(index, stop) if wanted is None else sorted(each for each in wanted if each >= index):
        yield Record(str(lost), lost, None, None, Fault(Status.UNREADABLE, f"row group {group}: {reason}"))


class _Columns:
    """Which columns hold image, label and key, found once per file."""

    def __init__(self, schema: pa.Schema, settings: ReadSettings, url: str, not_labels: Sequence[str] = ()) -> None:
        self.image = _image_column(schema, settings.image_field)
        self.is_struct = pa.types.is_struct(schema.field(self.image).type)
        self.label = _label_column(schema, settings.label_field, self.image, url, not_labels)
        self.key = _key_column(schema, settings.key_field)
        self.wanted = list(dict.fromkeys(name for name in (self.image, self.label.column, self.key) if name))

    def records(self, batch: pa.RecordBatch, index: int, limit: int) -> Iterator[Record]:
        images = batch.column(self.image)
        paths: list[str | None] = [None] * len(batch)
        if self.is_struct:
            # .field() ignores the struct's own nulls, .flatten() folds them into its children.
            children = dict(zip((f.name for f in images.type), images.flatten(), strict=True))
            images = children["bytes"]
            if "path" in children and is_text(children["path"].type):
                paths = texts(children["path"])
        keys = texts(batch.column(self.key)) if self.key else paths
        labels = self.label.texts(batch)
        for place, (image, path, key, label) in enumerate(zip(plain(images), paths, keys, labels, strict=True)):
            origin = self.label.source if label is not None or not self.label.found else ""
            yield _row(image, path, key or path, label, index + place, limit, origin)


def _row(
    image: pa.Scalar, path: str | None, key: str | None, label: str | None, index: int, limit: int, origin: str
) -> Record:
    name, note = shortened(key or str(index), MAX_NAME_CHARACTERS), None
    if key and name != key:
        note = f"the key has {len(key)} characters and is shortened to {MAX_NAME_CHARACTERS}"
    text = None if label is None else shortened(label, MAX_LABEL_CHARACTERS)
    buffer = image.as_buffer()
    if buffer is None:
        hint = f"; its path is {shortened(path, 300)!r}, but files outside the table are not read" if path else ""
        return Record(
            name, index, text, None, Fault(Status.MISSING_IMAGE, f"image bytes are null{hint}"), label_from=origin
        )
    if buffer.size > limit:
        fault = Fault(Status.TOO_LARGE, f"{buffer.size} stored bytes; the limit is {limit}")
        return Record(name, index, text, None, fault, hashlib.sha256(buffer).digest(), label_from=origin)
    return Record(name, index, text, buffer.to_pybytes(), note=note, label_from=origin)


def _image_column(schema: pa.Schema, named: str) -> str:
    if named:
        if has_column(schema, named, _holds_image):
            return named
        raise ColumnError(
            f"{named!r} cannot be the image column (binary, or a struct with binary `bytes`). {_listed(schema)} "
            "Name another with --image-field."
        )
    found = [name for name in schema.names if has_column(schema, name, _holds_image)]
    if known := names_in(found, IMAGE_FIELDS):
        return known[0]
    if len(found) == 1:
        return str(found[0])
    raise ColumnError(
        "expected one column of images (binary, or a struct with binary `bytes`), found "
        f"{len(found) or 'none'}. {_listed(schema)} "
        + ("Name it with --image-field." if found else "Store the images' files as binary.")
    )


def _key_column(schema: pa.Schema, named: str) -> str | None:
    if named and not has_column(schema, named, is_text):
        raise ColumnError(
            f"{named!r} cannot be the key column (text). {_listed(schema)} Name another with --key-field."
        )
    names = [named] if named else names_in(schema.names, KEY_FIELDS)
    return next((name for name in names if has_column(schema, name, is_text)), None)


def _label_column(schema: pa.Schema, named: str, image: str, url: str, not_labels: Sequence[str]) -> LabelColumn:
    try:
        return find_label(schema, named, image, url, not_labels)
    except KeyError:
        raise ColumnError(
            f"{named!r} cannot be the label column (text, binary, numbers or dates). {_listed(schema)} "
            "Name another with --label-field."
        ) from None


def _listed(schema: pa.Schema) -> str:
    columns = [f"{field.name} ({field.type})" for field in schema]
    more = ", ..." if len(columns) > 20 else ""
    return f"Columns: {shortened(', '.join(columns[:20]) + more, 1000)}."


def _holds_image(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and is_bytes(kind.field("bytes").type)
    return is_bytes(kind)
