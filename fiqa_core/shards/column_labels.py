"""Where a Parquet dataset has its labels: a column, or a folder of its path as Hive names them; and their text."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import numpy as np
import pyarrow as pa

from fiqa_core.shards.label_text import LABEL_FIELDS, hints, names_in, value_text

_NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True)
class LabelColumn:
    """Where the labels of one file come from.

    Attributes:
        column: "" if no column has them. partition: the label of all rows, if the path has it.
        classes: names by number (Hugging Face's ClassLabel), None for other columns.
        found: whether there are labels. source: where, in words; without labels the columns that look like one.
    """

    column: str = ""
    partition: str | None = None
    classes: tuple[str, ...] | None = None
    source: str = ""
    found: bool = True

    def texts(self, batch: pa.RecordBatch) -> list[str | None]:
        """The label of each row."""
        if not self.column:
            return [self.partition] * len(batch)
        values = batch.column(self.column)
        return texts(values) if self.classes is None else _class_names(values, self.classes)


def find_label(schema: pa.Schema, named: str, image: str, url: str, passed_over: Sequence[str] = ()) -> LabelColumn:
    """The label of a file: the column or path folder (`label=Ann`) that was named, else the first of `LABEL_FIELDS`
    (in any case), a column before a folder of the same name.

    Args:
        image: the column of the images. url: of the file. passed_over: columns to take only if they are named.

    Raises:
        KeyError: the named column or folder does not exist, or cannot be a label.
    """
    folders = hive_folders(url)
    columns = [name for name in schema.names if name != image and name not in passed_over]
    if named:
        if has_column(schema, named, holds_label):
            return _of_column(schema, named)
        if named in folders:
            return LabelColumn(partition=folders[named], source=f"folder names {named}=...")
        raise KeyError(named)
    unfit = ""
    for wanted in LABEL_FIELDS:
        for name in names_in(columns, (wanted,)):
            if has_column(schema, name, holds_label):
                return _of_column(schema, name)
            unfit = unfit or f"{name} ({schema.field(schema.names.index(name)).type})"
        for name in names_in(folders, (wanted,)):
            return LabelColumn(partition=folders[name], source=f"folder names {name}=...")
    others = hints(_candidates(schema, columns, folders))
    return LabelColumn(source=", ".join(filter(None, (unfit, others))), found=False)


def hive_folders(url: str) -> dict[str, str | None]:
    """The values of folders like `label=Ann` in a path, with percent-encoding decoded; None for Hive's null."""
    found: dict[str, str | None] = {}
    for part in url.split("/")[:-1]:
        name, equals, value = part.partition("=")
        if equals and name:
            found[unquote(name)] = None if value == _NULL_PARTITION else unquote(value)
    return found


def class_names(schema: pa.Schema, column: str) -> tuple[str, ...] | None:
    """The names of a ClassLabel column, as Hugging Face stores them in a file; None if there are none."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        feature = features[column]
        names = feature["names"] if feature["_type"] == "ClassLabel" else None
    except (KeyError, TypeError, ValueError, RecursionError):
        return None
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        return None
    # Two classes of one name would become one identity.
    return tuple(names) if len(set(names)) == len(names) else None


def texts(column: pa.Array) -> list[str | None]:
    """A column as text. Strings in Parquet need not be UTF-8: other bytes become `\\xff`."""
    column = plain(column)
    kind = column.type
    if is_text(kind) or is_bytes(kind):
        values = column.cast(pa.large_binary()).to_pylist()
        return [None if value is None else value.decode("utf-8", "backslashreplace") for value in values]
    if pa.types.is_fixed_size_binary(kind):
        return [value_text(value) for value in column.to_pylist()]
    if pa.types.is_float32(kind):
        # With the digits that a float32 has: 0.1, not 0.10000000149011612.
        return [_single_text(value) for value in column.to_pylist()]
    if pa.types.is_temporal(kind):
        return _times(column)
    return [value_text(value) for value in column.to_pylist()]


def plain(column: pa.Array) -> pa.Array:
    """A dictionary-encoded column (pandas' categorical) as its values."""
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def has_column(schema: pa.Schema, name: str, fits: Callable[[pa.DataType], bool]) -> bool:
    """Whether there is exactly one column of this name, and its type fits."""
    place = schema.get_field_index(name)
    return place >= 0 and fits(schema.field(place).type)


def holds_label(kind: pa.DataType) -> bool:
    """Whether values of a type can be labels."""
    value = _value_type(kind)
    types = pa.types
    return bool(
        is_text(kind)
        or is_bytes(kind)
        or types.is_integer(value)
        or types.is_floating(value)
        or types.is_decimal(value)
        or types.is_boolean(value)
        or types.is_temporal(value)
        or types.is_fixed_size_binary(value)
        or value == pa.null()
    )


def is_bytes(kind: pa.DataType) -> bool:
    """Whether a column holds bytes."""
    return _value_type(kind) in (pa.binary(), pa.large_binary(), pa.binary_view())


def is_text(kind: pa.DataType) -> bool:
    """Whether a column holds text."""
    return _value_type(kind) in (pa.string(), pa.large_string(), pa.string_view())


def _of_column(schema: pa.Schema, name: str) -> LabelColumn:
    classes = class_names(schema, name) if pa.types.is_integer(schema.field(name).type) else None
    return LabelColumn(name, None, classes, f"column {name!r}" + (" (class names)" if classes else ""))


def _candidates(schema: pa.Schema, columns: Sequence[str], folders: dict[str, Any]) -> list[str]:
    return [*(name for name in columns if has_column(schema, name, holds_label)), *folders]


def _class_names(column: pa.Array, names: tuple[str, ...]) -> list[str | None]:
    """-1 means no label; a number without a name stays a number."""
    numbers = column.to_pylist()
    return [None if n is None or n == -1 else names[n] if 0 <= n < len(names) else str(n) for n in numbers]


def _single_text(value: float | None) -> str | None:
    if value is None or value != value or value.is_integer():
        return value_text(value)
    return str(np.float32(value))


def _times(column: pa.Array) -> list[str | None]:
    try:
        return [value_text(value) for value in column.to_pylist()]
    except (ValueError, OverflowError, ArithmeticError, ImportError):
        # Nanoseconds and years that Python's types cannot hold.
        return list(column.cast(pa.string()).to_pylist())


def _value_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind
