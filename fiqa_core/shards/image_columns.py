"""Columns of a table that hold images, their labels and keys, and rows of such a table as records."""

import hashlib
from collections.abc import Iterator, Sequence

import pyarrow as pa

from fiqa_core.shards.column_labels import LabelColumn, find_label, has_column, is_bytes, is_text, plain, texts
from fiqa_core.shards.container import UnfitShardError
from fiqa_core.shards.label_text import names_in
from fiqa_core.shards.names import MAX_LABEL_CHARACTERS, MAX_NAME_CHARACTERS, shortened
from fiqa_core.shards.unit import Fault, ReadSettings, Record
from schemas.reasons import Status

IMAGE_FIELDS = ("image", "img", "jpg", "jpeg", "png", "webp", "image_bytes", "bytes", "data")
KEY_FIELDS = ("key", "__key__", "path", "file_name", "filename", "image_path")


class ColumnError(UnfitShardError):
    """The file has no column that can be the image or the label (or the one that was named cannot)."""


class ImageColumns:
    """Which columns of a file hold image, label and key.

    Attributes:
        image, key: names of columns; `key` may be None. label: where labels come from. wanted: the columns to read.

    Raises:
        ColumnError: there is no column for the image, or not one that `settings` name.
    """

    def __init__(self, schema: pa.Schema, settings: ReadSettings, url: str, not_labels: Sequence[str] = ()) -> None:
        self.image = _image_column(schema, settings.image_field)
        self.is_struct = pa.types.is_struct(schema.field(self.image).type)
        self.label = _label_column(schema, settings.label_field, self.image, url, not_labels)
        self.key = _key_column(schema, settings.key_field)
        self.wanted = list(dict.fromkeys(name for name in (self.image, self.label.column, self.key) if name))

    def records(self, batch: pa.RecordBatch, index: int, limit: int) -> Iterator[Record]:
        """The rows of a batch of the `wanted` columns, of which the first is row `index` of its file."""
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
