"""Parquet with image bytes: a struct column {bytes, path} as Hugging Face writes it, or a binary column."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fiqa_core.shards.unit import Fault, ReadSettings, Record, Unit
from fiqa_core.shards.webdataset import LABEL_FIELDS
from fiqa_core.storage import StorageError, StoredFile, open_read
from schemas.reasons import Status

IMAGE_FIELDS = ("image", "img", "jpg", "jpeg", "png", "webp", "image_bytes", "bytes", "data")
KEY_FIELDS = ("key", "__key__", "path", "file_name", "filename", "image_path")
_ROWS_AT_ONCE = 64
_BUFFER_BYTES = 1 << 20
_FOOTER_BLOCK = 256 << 10  # planning reads the file's end only


class ColumnError(ValueError):
    """The file has no column that can be the image (or the one that was named is not there)."""


class Parquet:
    """A unit is a run of row groups; a record is a row, its key the image's path or the row's number."""

    name = "parquet"
    suffixes: tuple[str, ...] = (".parquet", ".pq")

    def plan(self, file: StoredFile, unit_size: int) -> Iterator[Unit]:
        """Whole row groups, until a unit has at least `unit_size` rows."""
        try:
            with open_read(file.url, file.version, _FOOTER_BLOCK) as stream:
                footer = pq.ParquetFile(stream).metadata
        except (pa.ArrowException, EOFError):
            # Its reading will fail in the same way and become the shard's row, with the reason.
            yield Unit(0, self.name, file.shown, file.url, 0, 0, 0, -1, file.size, file.version)
            return
        groups = [footer.row_group(i) for i in range(footer.num_row_groups)]
        start = first = rows = size = 0
        for number, group in enumerate(groups, 1):
            rows += group.num_rows
            size += sum(group.column(i).total_compressed_size for i in range(group.num_columns))
            if rows >= unit_size or number == len(groups):
                yield Unit(0, self.name, file.shown, file.url, start, number, first, rows, size, file.version)
                start, first, rows, size = number, first + rows, 0, 0

    def read(self, unit: Unit, settings: ReadSettings) -> Iterator[Record]:
        """One record a row. A damaged row group costs its own rows only, each with its reason."""
        with open_read(unit.url, unit.version) as stream:
            try:
                # pre_buffer=False and a small buffer: pages are read as they are needed, so a row group
                # of a gigabyte costs a megabyte.
                file = pq.ParquetFile(stream, pre_buffer=False, buffer_size=_BUFFER_BYTES)
                columns = _Columns(file.schema_arrow, settings)
            except (pa.ArrowException, ColumnError, EOFError) as error:
                fault = Fault(Status.SHARD_UNREADABLE, _one_line(error))
                yield Record(None, unit.first_index, None, None, fault)
                return
            if unit.records < 0:
                raise StorageError(f"{unit.url}: could not be read when it was planned; start the run again")
            index = unit.first_index
            for group in range(unit.start, unit.stop):
                end = index + file.metadata.row_group(group).num_rows
                for record in _read_group(file, group, columns, index, settings.max_stored_bytes):
                    yield record
                    index += 1
                index = end


def _read_group(file: pq.ParquetFile, group: int, columns: "_Columns", index: int, limit: int) -> Iterator[Record]:
    end = index + file.metadata.row_group(group).num_rows
    try:
        for batch in file.iter_batches(_ROWS_AT_ONCE, row_groups=[group], columns=columns.wanted):
            for row in columns.records(batch, index, limit):
                yield row
                index += 1
    except (pa.ArrowException, OSError, EOFError) as error:
        if isinstance(error, StorageError) or (isinstance(error, OSError) and error.errno is not None):
            raise  # the store's failure, not the file's content (Arrow's own errors carry no errno)
        fault = Fault(Status.UNREADABLE, f"row group {group}: {_one_line(error)}")
        for lost in range(index, end):
            yield Record(str(lost), lost, None, None, fault)


class _Columns:
    """Which columns hold image, label and key, found once per file."""

    def __init__(self, schema: pa.Schema, settings: ReadSettings) -> None:
        self.image = _image_column(schema, settings.image_field)
        self.is_struct = pa.types.is_struct(schema.field(self.image).type)
        self.label = _label_column(schema, settings.label_field)
        self.key = next((n for n in KEY_FIELDS if n in schema.names and _is_text(schema.field(n).type)), None)
        self.wanted = [name for name in (self.image, self.label, self.key) if name]

    def records(self, batch: pa.RecordBatch, index: int, limit: int) -> Iterator[Record]:
        column = batch.column(self.image)
        paths: list[Any] = [None] * len(batch)
        valid = column
        if self.is_struct:
            # .field() ignores the struct's own nulls, .flatten() folds them into its children.
            children = dict(zip((f.name for f in column.type), column.flatten(), strict=True))
            valid = children["bytes"]
            if "path" in children:
                paths = children["path"].to_pylist()
        keys = batch.column(self.key).to_pylist() if self.key else paths
        labels = batch.column(self.label).to_pylist() if self.label else [None] * len(batch)
        for place, (image, path, key, label) in enumerate(zip(valid, paths, keys, labels, strict=True)):
            yield _row(image, path, key, label, index + place, limit)


def _row(image: pa.Scalar, path: Any, key: Any, label: Any, index: int, limit: int) -> Record:
    name = str(key or path or index)
    text = None if label is None else str(label)
    buffer = image.as_buffer()
    if buffer is None:
        hint = f"; its path is {path!r}, but files outside the table are not read" if path else ""
        return Record(name, index, text, None, Fault(Status.MISSING_IMAGE, f"image bytes are null{hint}"))
    if buffer.size > limit:
        fault = Fault(Status.TOO_LARGE, f"{buffer.size} stored bytes; the limit is {limit}")
        return Record(name, index, text, None, fault)
    return Record(name, index, text, buffer.to_pybytes())


def _image_column(schema: pa.Schema, named: str) -> str:
    if named:
        if named in schema.names and _holds_image(schema.field(named).type):
            return named
        raise ColumnError(f"no image column {named!r} (binary, or struct with `bytes`) among {schema.names}")
    found = [name for name in schema.names if _holds_image(schema.field(name).type)]
    for name in IMAGE_FIELDS:
        if name in found:
            return name
    if len(found) == 1:
        return str(found[0])
    raise ColumnError(
        f"expected one binary column or a struct column with `bytes`, found {found or 'none'} among "
        f"{schema.names}; name it with --image-field"
    )


def _label_column(schema: pa.Schema, named: str) -> str | None:
    if named and named not in schema.names:
        raise ColumnError(f"no label column {named!r} among {schema.names}; see --label-field")
    for name in (named,) if named else LABEL_FIELDS:
        if name in schema.names and (pa.types.is_integer(t := schema.field(name).type) or _is_text(t)):
            return str(name)
    return None


def _holds_image(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and _is_bytes(kind.field("bytes").type)
    return _is_bytes(kind)


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
