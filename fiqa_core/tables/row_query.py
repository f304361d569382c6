"""Rows of a quality table, a decisions table or `removed.csv`, chosen and ordered by expressions that a person writes.

An expression is one of DuckDB's over the columns of a row (`quality < 0.1 AND label = '7'`). It is evaluated in a
database in memory that has no tables, reads and writes no files, loads no extensions, and whose settings are locked.
"""

import csv
from collections.abc import Iterable, Iterator, Sequence

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from fiqa_core.errors import FiqaError
from fiqa_core.storage import in_flight, is_folder, join, list_names, open_read
from fiqa_core.tables.quality_files import TableError, table_files
from fiqa_core.tables.row_batches import damage_named
from fiqa_core.tables.whole_tables import whole_tables
from fiqa_core.wording import one_line

DECISIONS, REMOVED = "decisions", "removed.csv"
_LEFT_OUT = {"embedding", "thumb"}
_ROWS_AT_ONCE = 16_384
_FOOTERS_AT_ONCE = 16
# Of a database that reads only what it is given.
LOCKED = {
    "enable_external_access": "false",
    "python_enable_replacements": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "lock_configuration": "true",
}
# Columns of `removed.csv` that are not text.
_NUMBERS = {"index": pa.int64(), "identity_images": pa.int64(), "duplicate_of_index": pa.int64()} | dict.fromkeys(
    (
        *("quality", "quality_quantile", "identity_quantile", "centre_cosine", "nearest_cosine"),
        "duplicate_similarity",
    ),
    pa.float64(),
)


class ExpressionError(TableError):
    """An expression that DuckDB refuses; the message says which, and what is wrong with it."""


def chosen_rows(
    url: str, where: str = "", order: str = "", limit: int | None = None, allow_incomplete: bool = False
) -> pa.Table:
    """The rows that fit, in order; without embeddings and thumbnails.

    Args:
        url: output of a scoring or filter run, a folder of Parquet files, one file, or `removed.csv`. Of a filter run
            it is the decisions.
        where: a condition; "": all rows. order: columns or expressions, each with ASC or DESC; "": as in the table.
        limit: rows at most; None: all.

    Only the rows that are given are held in memory, and those that ordering needs.

    Raises:
        ExpressionError: DuckDB refuses an expression. TableError: the table cannot be read, or is not complete.
    """
    read = _removed(url) if url.lower().endswith(".csv") else _parquet(url, allow_incomplete)
    failures: list[Exception] = []
    rows = pa.RecordBatchReader.from_batches(read.schema, _watched(read, failures))
    try:
        with duckdb.connect(":memory:", config=LOCKED) as database:
            relation = database.from_arrow(rows)
            relation = _step(relation, "filter", where)
            relation = _step(relation, "order", order)
            if limit is not None:
                relation = relation.limit(limit)
            return relation.to_arrow_table()
    except (duckdb.Error, pa.ArrowException, FiqaError, OSError) as error:
        if failures:
            raise failures[0] from None  # DuckDB would show it as its own
        if not isinstance(error, duckdb.Error):
            raise
        given = " and ".join(f"{name} {text!r}" for name, text in (("--where", where), ("--order", order)) if text)
        raise ExpressionError(f"{given or url}: {reason_of(error)}. {_listed(rows.schema)}") from error


def _watched(batches: Iterable[pa.RecordBatch], failures: list[Exception]) -> Iterator[pa.RecordBatch]:
    try:
        yield from batches
    except Exception as error:
        failures.append(error)
        raise


def _step(relation: duckdb.DuckDBPyRelation, name: str, expression: str) -> duckdb.DuckDBPyRelation:
    if not expression.strip():
        return relation
    found: duckdb.DuckDBPyRelation = getattr(relation, name)(expression)
    return found


def reason_of(error: duckdb.Error) -> str:
    """DuckDB's message up to the line that it quotes."""
    return one_line(Exception(str(error).split("\n\nLINE")[0]), 300).rstrip(".")


def _listed(schema: pa.Schema) -> str:
    return f"Columns: {', '.join(schema.names)}."


def _parquet(url: str, allow_incomplete: bool) -> pa.RecordBatchReader:
    if is_folder(url) and DECISIONS in list_names(url):
        urls = table_files(join(url, DECISIONS))
    else:
        urls = list(whole_tables([url], allow_incomplete).urls)
    schemas = list(in_flight(urls, _schema, _FOOTERS_AT_ONCE))
    try:
        schema = pa.unify_schemas(schemas, promote_options="permissive")
    except pa.ArrowException as error:
        raise TableError(f"{url}: its files have columns of different types ({one_line(error, 200)})") from error
    return pa.RecordBatchReader.from_batches(schema, _batches(urls, schema))


def _schema(url: str) -> pa.Schema:
    with damage_named(url), open_read(url) as stream:
        schema = pq.ParquetFile(stream).schema_arrow
    return pa.schema(
        [pa.field(field.name, plain_type(field.type)) for field in schema if field.name not in _LEFT_OUT],
    )


def plain_type(kind: pa.DataType) -> pa.DataType:
    """The type without what differs between files for the same values."""
    if pa.types.is_dictionary(kind):
        return plain_type(kind.value_type)
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    return pa.binary() if pa.types.is_fixed_size_binary(kind) or pa.types.is_large_binary(kind) else kind


def _batches(urls: Sequence[str], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    for url in urls:
        with damage_named(url), open_read(url) as stream:
            file = pq.ParquetFile(stream, page_checksum_verification=True)
            names = [name for name in schema.names if name in file.schema_arrow.names]
            for batch in file.iter_batches(_ROWS_AT_ONCE, columns=names):
                columns = [
                    batch.column(field.name).cast(field.type)
                    if field.name in names
                    else pa.nulls(batch.num_rows, field.type)
                    for field in schema
                ]
                yield pa.RecordBatch.from_arrays(columns, schema=schema)


def _removed(url: str) -> pa.RecordBatchReader:
    """The rows of `removed.csv`; of the lines that stand for a part of the dataset without rows none."""
    stream = open_read(url)
    lines = csv.DictReader((line.decode("utf-8") for line in _lines(stream)), strict=True)
    names = lines.fieldnames or []
    missing = [name for name in ("shard", "index") if name not in names]
    if missing:
        raise TableError(f"{url}: not a removed.csv of a filter run: it has no column {missing[0]!r}")
    schema = pa.schema([pa.field(name, _NUMBERS.get(name, pa.string())) for name in names])
    return pa.RecordBatchReader.from_batches(schema, _csv_batches(url, lines, schema))


def _lines(stream: object) -> Iterator[bytes]:
    with stream:  # type: ignore[attr-defined]
        yield from stream  # type: ignore[misc]


def _csv_batches(url: str, lines: "csv.DictReader[str]", schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    waiting: list[dict[str, str]] = []
    try:
        for line in lines:
            if line["index"]:
                waiting.append(line)
            if len(waiting) == _ROWS_AT_ONCE:
                yield _of_lines(waiting, schema)
                waiting = []
        yield _of_lines(waiting, schema)
    except (csv.Error, UnicodeDecodeError, pa.ArrowException) as error:
        raise TableError(
            f"{url}: line {lines.line_num} is not one of a removed.csv ({one_line(error, 200)})"
        ) from error


def _of_lines(lines: Sequence[dict[str, str]], schema: pa.Schema) -> pa.RecordBatch:
    columns = []
    for field in schema:
        cells = [line[field.name] or None for line in lines]
        if field.type == pa.string():
            columns.append(pa.array([cell and cell.removeprefix("'") for cell in cells], pa.string()))
        else:
            columns.append(pa.array(cells, pa.string()).cast(field.type))
    return pa.RecordBatch.from_arrays(columns, schema=schema)
