"""Parquet with image bytes: a struct column {bytes, path} as Hugging Face writes it, or a binary column."""

import hashlib
from collections.abc import Callable, Iterator

import pyarrow as pa

from fiqa_core.shards.names import MAX_LABEL_CHARACTERS, MAX_NAME_CHARACTERS, shortened
from fiqa_core.shards.parquet_groups import RowGroups, is_store_failure
from fiqa_core.shards.unit import Fault, ReadSettings, Record, Unit
from fiqa_core.shards.webdataset import LABEL_FIELDS
from fiqa_core.storage import StorageError, StoredFile, open_read
from schemas.reasons import Status

IMAGE_FIELDS = ("image", "img", "jpg", "jpeg", "png", "webp", "image_bytes", "bytes", "data")
KEY_FIELDS = ("key", "__key__", "path", "file_name", "filename", "image_path")
_FOOTER_BLOCK = 256 << 10  # planning reads the file's end only


class ColumnError(ValueError):
    """The file has no column that can be the image or the label (or the one that was named cannot)."""


class Parquet:
    """A unit is a run of row groups or of rows of one; a record is a row, its key the image's path or its number."""

    name = "parquet"
    suffixes: tuple[str, ...] = (".parquet", ".pq")

    def plan(self, file: StoredFile, unit_size: int, settings: ReadSettings | None = None) -> Iterator[Unit]:
        """Whole row groups, until a unit has at least `unit_size` rows; a group of twice as many is cut by rows.

        Raises:
            ColumnError: `settings` are given, and the file has no column for the image, or not the one named
                for image or label.
        """
        try:
            with open_read(file.url, file.version, _FOOTER_BLOCK) as stream:
                groups = RowGroups(stream)
                if settings is not None:
                    _Columns(groups.schema, settings)
        except ColumnError as error:
            raise ColumnError(f"{file.shown}: {error}") from error
        except Exception as error:
            if is_store_failure(error):
                raise
            # Its reading will fail in the same way and become the shard's row, with the reason.
            yield Unit(0, self.name, file.shown, file.url, 0, 0, 0, -1, file.size, file.version)
            return
        for run in groups.runs(unit_size):
            yield Unit(
                0, self.name, file.shown, file.url, run.start, run.stop, run.first, run.rows, run.size, file.version
            )

    def read(self, unit: Unit, settings: ReadSettings) -> Iterator[Record]:
        """One record a row. Damage costs the rows behind it in its row group, each with its reason."""
        with open_read(unit.url, unit.version) as stream:
            try:
                groups = RowGroups(stream)
                columns = _Columns(groups.schema, settings)
            except Exception as error:
                if is_store_failure(error):
                    raise
                yield Record(None, unit.first_index, None, None, Fault(Status.SHARD_UNREADABLE, _one_line(error)))
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
    groups: RowGroups, group: int, columns: "_Columns", index: int, stop: int, skip: int, limit: int
) -> Iterator[Record]:
    """The rows `index` to `stop` of the file, which lie in this group behind `skip` others."""
    try:
        batches = groups.batches(group, columns.wanted, skip)
        while index < stop and (batch := next(batches, None)) is not None:
            for row in columns.records(batch.slice(0, stop - index), index, limit):
                yield row
                index += 1
        reason = f"{groups.rows[group]} rows are named in the footer, but its pages end before this one"
    except Exception as error:
        if is_store_failure(error):
            raise
        reason = _one_line(error)
    for lost in range(index, stop):
        yield Record(str(lost), lost, None, None, Fault(Status.UNREADABLE, f"row group {group}: {reason}"))


class _Columns:
    """Which columns hold image, label and key, found once per file."""

    def __init__(self, schema: pa.Schema, settings: ReadSettings) -> None:
        self.image = _image_column(schema, settings.image_field)
        self.is_struct = pa.types.is_struct(schema.field(self.image).type)
        self.label = _label_column(schema, settings.label_field, self.image)
        self.key = next((name for name in KEY_FIELDS if _has(schema, name, _is_text)), None)
        self.wanted = [name for name in (self.image, self.label, self.key) if name]

    def records(self, batch: pa.RecordBatch, index: int, limit: int) -> Iterator[Record]:
        images = batch.column(self.image)
        paths: list[str | None] = [None] * len(batch)
        if self.is_struct:
            # .field() ignores the struct's own nulls, .flatten() folds them into its children.
            children = dict(zip((f.name for f in images.type), images.flatten(), strict=True))
            images = children["bytes"]
            if "path" in children and _is_text(children["path"].type):
                paths = _texts(children["path"])
        keys = _texts(batch.column(self.key)) if self.key else paths
        labels = _texts(batch.column(self.label)) if self.label else [None] * len(batch)
        for place, (image, path, key, label) in enumerate(zip(_plain(images), paths, keys, labels, strict=True)):
            yield _row(image, path, key or path, label, index + place, limit)


def _row(image: pa.Scalar, path: str | None, key: str | None, label: str | None, index: int, limit: int) -> Record:
    name, note = shortened(key or str(index), MAX_NAME_CHARACTERS), None
    if key and name != key:
        note = f"the key has {len(key)} characters and is shortened to {MAX_NAME_CHARACTERS}"
    text = None if label is None else shortened(label, MAX_LABEL_CHARACTERS)
    buffer = image.as_buffer()
    if buffer is None:
        hint = f"; its path is {shortened(path, 300)!r}, but files outside the table are not read" if path else ""
        return Record(name, index, text, None, Fault(Status.MISSING_IMAGE, f"image bytes are null{hint}"))
    if buffer.size > limit:
        fault = Fault(Status.TOO_LARGE, f"{buffer.size} stored bytes; the limit is {limit}")
        return Record(name, index, text, None, fault, hashlib.sha256(buffer).digest())
    return Record(name, index, text, buffer.to_pybytes(), note=note)


def _plain(column: pa.Array) -> pa.Array:
    """A dictionary-encoded column (pandas' categorical) as its values."""
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _texts(column: pa.Array) -> list[str | None]:
    """A column of text or numbers as text. Strings in Parquet need not be UTF-8: other bytes become `\\xff`."""
    column = _plain(column)
    if _is_text(column.type) or _is_bytes(column.type):
        values = column.cast(pa.large_binary()).to_pylist()
        return [None if value is None else value.decode("utf-8", "backslashreplace") for value in values]
    return [_number_text(value) for value in column.to_pylist()]


def _number_text(value: float | None) -> str | None:
    """Whole floats lose their `.0`: pandas makes floats of integers where one is missing."""
    if value is None or value != value:
        return None
    return str(int(value)) if float(value).is_integer() else str(value)


def _image_column(schema: pa.Schema, named: str) -> str:
    if named:
        if _has(schema, named, _holds_image):
            return named
        raise ColumnError(
            f"{named!r} cannot be the image column (binary, or a struct with binary `bytes`). {_listed(schema)} "
            "Name another with --image-field."
        )
    found = [name for name in schema.names if _has(schema, name, _holds_image)]
    for name in IMAGE_FIELDS:
        if name in found:
            return name
    if len(found) == 1:
        return str(found[0])
    raise ColumnError(
        "expected one column of images (binary, or a struct with binary `bytes`), found "
        f"{len(found) or 'none'}. {_listed(schema)} "
        + ("Name it with --image-field." if found else "Store the images' files as binary.")
    )


def _label_column(schema: pa.Schema, named: str, image: str) -> str | None:
    if named and not _has(schema, named, _holds_label):
        raise ColumnError(
            f"{named!r} cannot be the label column (text, binary, or numbers). {_listed(schema)} "
            "Name another with --label-field."
        )
    names = (named,) if named else (name for name in LABEL_FIELDS if name != image)
    return next((name for name in names if _has(schema, name, _holds_label)), None)


def _has(schema: pa.Schema, name: str, fits: Callable[[pa.DataType], bool]) -> bool:
    """Whether there is one column of this name (a name that occurs twice names nothing), and of a type that fits."""
    place = schema.get_field_index(name)
    return place >= 0 and fits(schema.field(place).type)


def _listed(schema: pa.Schema) -> str:
    columns = [f"{field.name} ({field.type})" for field in schema]
    more = ", ..." if len(columns) > 20 else ""
    return f"Columns: {shortened(', '.join(columns[:20]) + more, 1000)}."


def _holds_image(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and _is_bytes(kind.field("bytes").type)
    return _is_bytes(kind)


def _holds_label(kind: pa.DataType) -> bool:
    value = _value_type(kind)
    types = pa.types
    return (
        _is_text(kind) or _is_bytes(kind) or types.is_integer(value) or types.is_floating(value) or value == pa.null()
    )


def _is_bytes(kind: pa.DataType) -> bool:
    return _value_type(kind) in (pa.binary(), pa.large_binary(), pa.binary_view())


def _is_text(kind: pa.DataType) -> bool:
    return _value_type(kind) in (pa.string(), pa.large_string(), pa.string_view())


def _value_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:1000] or type(error).__name__
