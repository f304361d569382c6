"""Labels from a file of their own (CSV or Parquet: key -> label), for tables and shards that have none, or others."""

import csv
import hashlib
import io
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fiqa_core.shards.column_labels import LabelColumn, find_label, holds_label, texts
from fiqa_core.shards.label_text import LABEL_FIELDS, names_in
from fiqa_core.storage import StorageError, open_read, without_query
from fiqa_core.tables.quality_files import TableError, TableFile
from fiqa_core.tables.row_batches import read_part
from fiqa_core.wording import counted

_log = logging.getLogger(__name__)
KEY_FIELDS = ("key", "path", "image_path", "file", "filename", "file_name", "image", "image_id", "name")
_ENDING = r"(?i)\.(jpe?g|png|bmp|webp|gif|tiff?)$"
_ROWS_AT_ONCE = 65_536
_SHOWN = 3


@dataclass(frozen=True)
class LabelList:
    """What a file of labels says: `keys` and `labels` of its rows (text; a row without label is null), in order."""

    where: str
    keys: pa.Array
    labels: pa.Array
    digest: str


class AttachedLabels:
    """Labels by key. About 16 bytes of memory a key, whatever its length; keys are compared by a 64-bit hash.

    Attributes:
        where: the file. digest: SHA-256 of its content. found: whether a row of a table had the key, for each key in
            the order of the hashes; whoever reads rows sets it. without: rows of the table that have no label here.
    """

    def __init__(self, listed: LabelList, without_ending: bool = False) -> None:
        """`without_ending`: compare keys without the ending of an image file (`.jpg`).

        Raises:
            TableError: a key with two different labels.
        """
        self.where, self.digest, self.without_ending = listed.where, listed.digest, without_ending
        encoded = listed.labels.dictionary_encode()
        self._names = encoded.dictionary
        codes = pc.fill_null(encoded.indices, -1).to_numpy().astype(np.int32)
        hashes = self._hashes(listed.keys)
        order = np.argsort(hashes, kind="stable")
        hashes, codes = hashes[order], codes[order]
        again = np.flatnonzero(hashes[1:] == hashes[:-1]) + 1
        other = again[codes[again] != codes[again - 1]]
        if len(other):
            rows = sorted({int(order[place - 1]) + 1, int(order[place]) + 1} for place in other)[:_SHOWN]
            shown = "; ".join(f"rows {min(pair):,} and {max(pair):,}" for pair in rows)
            raise TableError(
                f"{self.where}: {counted(len(other), 'key has', 'keys have')} two different labels ({shown}). Give "
                "each key one label."
            )
        self.repeated = len(again)
        first = np.ones(len(hashes), bool)
        first[again] = False
        self._known, self._codes = hashes[first], codes[first]
        self.found = np.zeros(len(self._known), bool)
        self.without = 0

    def __len__(self) -> int:
        return len(self._known)

    def places(self, keys: pa.Array) -> np.ndarray:
        """Number of each key among those of the file, int64; -1 where the file does not have it."""
        if not len(self._known):
            return np.full(len(keys), -1)
        hashes = self._hashes(keys)
        places = np.minimum(np.searchsorted(self._known, hashes), len(self._known) - 1)
        valid = keys.is_valid().to_numpy(zero_copy_only=False)
        return np.where((self._known[places] == hashes) & valid, places, -1)

    def of(self, keys: pa.Array) -> pa.Array:
        """The label of each key, as text; null where the file has none."""
        places = self.places(keys)
        codes = np.where(places >= 0, self._codes[places], -1) if len(self._codes) else places
        return self._names.take(pa.array(codes, pa.int64(), mask=codes < 0)).cast(pa.string())

    def once(self, keys: pa.Array) -> pa.Array:
        """As `of`, for keys of other rows than those that were asked for before; `found` is set.

        Raises:
            TableError: a key of the file that another row has too.
        """
        places = self.places(keys)
        places = places[places >= 0]
        distinct = np.unique(places)
        if len(distinct) < len(places) or self.found[distinct].any():
            raise TableError(
                f"{self.where}: two records have one of its keys, so that a label by key is not that of one image. "
                "Give the parts of the dataset in which keys are repeated one by one."
            )
        self.found[distinct] = True
        return self.of(keys)

    def _hashes(self, keys: pa.Array) -> np.ndarray:
        if self.without_ending:
            keys = pc.replace_substring_regex(keys, _ENDING, "")
        values = pc.fill_null(keys, "").to_numpy(zero_copy_only=False)
        return np.asarray(pd.util.hash_array(values, categorize=False))


class ColumnOptions(NamedTuple):
    """The options that name the columns of a file, for errors."""

    key: str = "--labels-key"
    label: str = "--labels-column"


OF_LABELS = ColumnOptions()


def read_label_list(
    url: str, key_column: str = "", label_column: str = "", options: ColumnOptions = OF_LABELS
) -> LabelList:
    """Read a file of labels: Parquet by its name, else CSV with a header line. A label is text or a number, an empty
    one is none; numbers of a Hugging Face ClassLabel are replaced by their names.

    Args:
        key_column, label_column: names of the columns; "" finds them by name (`KEY_FIELDS`, `LABEL_FIELDS`).
        options: what errors tell the user to name them by.

    Raises:
        TableError: not such a file, or no such columns (it names those that are there).
    """
    try:
        with open_read(url) as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type]
        reading = _of_parquet if without_query(url).lower().endswith(".parquet") else _of_csv
        keys, labels = reading(url, key_column, label_column, options)
    except FileNotFoundError as error:
        raise TableError(f"{url}: no such file of labels.") from error
    if not len(keys):
        raise TableError(f"{url}: holds no rows. Expected a key and a label in each.")
    return LabelList(url, keys, labels, digest)


def attach(parts: Sequence[TableFile], listed: LabelList) -> tuple[TableFile, ...]:
    """The files of a table with these labels in place of their own; a row whose key is not in the file has none.

    Raises:
        TableError: no key of the table is in the file, or a key of the file names several rows.
    """
    for without_ending in (False, True):
        labels = AttachedLabels(listed, without_ending)
        rows, with_label, shared, example = _matched(parts, labels)
        if labels.found.any():
            break
    else:
        raise TableError(
            f"{listed.where}: none of its {counted(len(labels), 'key')} is a key of the table. Its keys look like "
            f"{listed.keys[0].as_py()!r}, those of the table like {example!r}. Name its column of keys by --labels-key."
        )
    if shared:
        raise TableError(
            f"{listed.where}: {counted(shared, 'row of the table has', 'rows of the table have')} a key that "
            "another row has too, so that a label by key is not that of one image. Filter each "
            "such part of the dataset by itself."
        )
    labels.without = rows - with_label
    _say(labels, rows, with_label)
    return tuple(replace(part, labels=labels, columns=tuple(dict.fromkeys((*part.columns, "label")))) for part in parts)


def _say(labels: AttachedLabels, rows: int, with_label: int) -> None:
    _log.info("labels: %s of %s from %s", f"{with_label:,}", counted(rows, "row"), labels.where)
    unknown = len(labels) - int(labels.found.sum())
    if unknown:
        _log.warning("%s: %s no row of the table", labels.where, counted(unknown, "key is of", "keys are of"))
    if labels.repeated:
        _log.warning(
            "%s: %s, with the same label",
            labels.where,
            counted(labels.repeated, "key is repeated", "keys are repeated"),
        )
    if rows > with_label:
        without = counted(rows - with_label, "row has", "rows have")
        _log.warning("%s: %s no label there, and so none", labels.where, without)


def _matched(parts: Sequence[TableFile], labels: AttachedLabels) -> tuple[int, int, int, str]:
    """Rows with a key, those with a label, those whose key is another row's too, and a key of the table."""
    rows = with_label = shared = 0
    example = ""
    for part in parts:
        for batch in read_part(replace(part, labels=None), ["key"]):
            keys = batch.column("key").cast(pa.string())
            places = labels.places(keys)
            places = places[places >= 0]
            distinct = np.unique(places)
            shared += len(places) - len(distinct) + int(labels.found[distinct].sum())
            labels.found[distinct] = True
            rows += len(keys) - keys.null_count
            with_label += len(keys) - labels.of(keys).null_count
            example = example or next((key for key in keys[:_SHOWN].to_pylist() if key is not None), "")
    return rows, with_label, shared, example


def _of_parquet(url: str, key_column: str, label_column: str, options: ColumnOptions) -> tuple[pa.Array, pa.Array]:
    try:
        with open_read(url) as stream:
            file = pq.ParquetFile(stream, page_checksum_verification=True)
            schema = file.schema_arrow
            key = _column(url, schema.names, key_column, KEY_FIELDS, options.key, "keys")
            label = _label_column(url, schema, label_column, key, options)
            keys, labels = list[pa.Array](), list[pa.Array]()
            for batch in file.iter_batches(_ROWS_AT_ONCE, columns=list(dict.fromkeys((key, label.column)))):
                keys.append(pa.array(texts(batch.column(key)), pa.string()))
                labels.append(pa.array([text or None for text in label.texts(batch)], pa.string()))
    except StorageError:
        raise
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        reason = " ".join(str(error).split())[:200]
        raise TableError(f"{url}: not readable as Parquet ({reason}). Write it again.") from error
    return pa.chunked_array(keys, pa.string()).combine_chunks(), pa.chunked_array(labels, pa.string()).combine_chunks()


def _label_column(url: str, schema: pa.Schema, named: str, key: str, options: ColumnOptions) -> LabelColumn:
    names = [name for name in schema.names if name != key and holds_label(schema.field(name).type)]
    return find_label(schema, _column(url, names, named, LABEL_FIELDS, options.label, "labels"), key, "")


def _of_csv(url: str, key_column: str, label_column: str, options: ColumnOptions) -> tuple[pa.Array, pa.Array]:
    keys, labels = list[pa.Array](), list[pa.Array]()
    for rows in _csv_rows(url, key_column, label_column, options):
        keys.append(pa.array([key for key, _ in rows], pa.string()))
        labels.append(pa.array([label or None for _, label in rows], pa.string()))
    return pa.chunked_array(keys, pa.string()).combine_chunks(), pa.chunked_array(labels, pa.string()).combine_chunks()


def _csv_rows(url: str, key_column: str, label_column: str, options: ColumnOptions) -> Iterator[list[tuple[str, str]]]:
    """Key and label of each row, some rows at a time."""
    with open_read(url) as stream, io.TextIOWrapper(stream, "utf-8-sig", newline="") as text:
        reader = csv.reader(text, strict=True)
        try:
            header = [name.strip() for name in next(reader, [])]
            key = header.index(_column(url, header, key_column, KEY_FIELDS, options.key, "keys"))
            others = [name for place, name in enumerate(header) if place != key]
            label = header.index(_column(url, others, label_column, LABEL_FIELDS, options.label, "labels"))
            rows: list[tuple[str, str]] = []
            for row in reader:
                if len(row) != len(header):
                    if not any(row):
                        continue
                    raise TableError(
                        f"{url}, line {reader.line_num}: {counted(len(row), 'value')}, and the header has "
                        f"{len(header)}. Expected as many values as the header has names, with commas between them."
                    )
                rows.append((row[key], row[label].strip()))
                if len(rows) == _ROWS_AT_ONCE:
                    yield rows
                    rows = []
            yield rows
        except (csv.Error, UnicodeDecodeError) as error:
            reason = "not valid UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
            raise TableError(
                f"{url}, line {reader.line_num + 1}: not readable as CSV ({reason}). Expected UTF-8 text with a header."
            ) from error


def _column(url: str, names: Sequence[str], named: str, usual: Sequence[str], option: str, what: str) -> str:
    """The column that was named, else the first that has a usual name."""
    if named in names:
        return named
    found = next(iter(names_in(names, usual)), None) if not named else None
    if found is None:
        wanted = f"no column {named!r}" if named else f"no column of {what} by name (such as {', '.join(usual[:4])})"
        there = ", ".join(names[:12]) or "none"
        raise TableError(f"{url}: {wanted}. Columns: {there}. Name the right one by {option}.")
    return found
