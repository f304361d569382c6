"""Writing of the decisions: one decisions file for each quality file, `removed.csv`, and the manifest of kept rows."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fiqa_core import storage
from fiqa_core.curation.decisions.database import VERDICTS
from fiqa_core.curation.decisions.reason_codes import REASONS
from fiqa_core.curation.decisions.removed_csv import RemovedFile
from fiqa_core.curation.decisions.review import REVIEWED
from fiqa_core.in_flight import InFlight
from fiqa_core.storage import join
from fiqa_core.tables.quality_files import TableError, TableFile
from fiqa_core.tables.row_batches import read_ahead, read_part
from fiqa_core.tables.run_gaps import Gap
from schemas import provenance, versions
from schemas.decisions import SCHEMA

DECISIONS = "decisions"
MANIFEST = "manifest"
REMOVED = "removed.csv"

_WAITING = 4  # tables of at most `reading.ROWS_AT_ONCE` rows
_COPIED = ("key", "shard", "index", "label", "quality", "status", "sha256")
_MANIFEST_COLUMNS = ("key", "shard", "index", "label", "quality", "tier", "weight", "sha256")
# Other columns have a different value in nearly every row, so a dictionary would not pay.
_REPEATED = [
    "shard", "label", "status", "reason", "tier", "weight", "identity_images", "nearest_label", "label_verdict",
    "duplicate_of_shard", "condition",
]  # fmt: skip


@dataclass(frozen=True)
class DecisionFiles:
    """Where the decisions are written, and what stands in the files.

    Attributes:
        output: folder of the run. run: digest of everything that decides (stored in every file). policy: the policy's
            digest.
        digests: of the quality files, by part number. shard_size: rows in a manifest file, 0 = no manifest.
        explained: each reason in words. gaps: what is missing in the table, for `removed.csv`. conditions: of the
            policy, by which rows are dropped (drop_where).
    """

    output: str
    run: str
    policy: str
    digests: Sequence[str]
    shard_size: int
    explained: Mapping[str, str]
    gaps: Sequence[Gap] = ()
    conditions: Sequence[str] = ()

    def write(self, parts: Sequence[TableFile], decided: Iterator[pa.RecordBatch]) -> int:
        """Write everything; `decided` are the decided columns of all rows in order. Returns the kept rows.

        Files of an earlier run with the same digest are kept.

        Raises:
            TableError: a quality file changed meanwhile, or a row has no place in its shard. OSError: the output
                cannot be written to.
        """
        columns = _RowStream(decided)
        kept = 0
        with ExitStack() as stack:
            removed = stack.enter_context(self._removed_file())
            manifest = stack.enter_context(_Manifest(self.output, self.shard_size)) if self.shard_size else None
            chunks = ((part, batch) for part in parts for batch in (*_copied(part), None))
            reading = read_ahead(chunks)
            stack.callback(reading.close)
            background = stack.enter_context(_BackgroundWriter())
            for part in parts:
                for table in self._part(part, _until_end(reading), columns):
                    keep = table["keep"]
                    here = table.filter(keep)
                    kept += here.num_rows
                    background.do(removed.write, table.filter(pc.invert(keep)))
                    if manifest is not None:
                        background.do(manifest.write, here.select(_MANIFEST_COLUMNS))
            background.wait()
            removed.publish()
            if manifest is not None:
                manifest.close()
        return kept

    def _part(self, part: TableFile, batches: Iterator[pa.RecordBatch], columns: "_RowStream") -> Iterator[pa.Table]:
        url = join(self.output, DECISIONS, file_name(part))
        tables = (decisions_table(batch, columns.take(batch.num_rows), self.conditions) for batch in batches)
        if is_of_run(url, self.run):
            yield from tables
            return
        schema = SCHEMA.with_metadata(self._metadata(part))
        with storage.temporary_for(self.output) as path:
            with pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=_REPEATED) as writer:
                for table in tables:
                    _refuse_nulls(table, part)
                    writer.write_table(table)
                    yield table
            storage.publish(path, url)

    def _removed_file(self) -> RemovedFile:
        return RemovedFile(self.output, join(self.output, REMOVED), self.explained, self.gaps)

    def _metadata(self, part: TableFile) -> dict[bytes, bytes]:
        return {
            provenance.DECISIONS_RUN: self.run.encode(),
            provenance.POLICY_DIGEST: self.policy.encode(),
            provenance.QUALITY_FILE: part.name.encode(),
            provenance.QUALITY_DIGEST: self.digests[part.number].encode(),
            provenance.DECISIONS_VERSION: str(versions.DECISIONS_VERSION).encode(),
            provenance.PACKAGE_VERSION: versions.PACKAGE_VERSION.encode(),
            **({provenance.DROP_WHERE: json.dumps(list(self.conditions)).encode()} if self.conditions else {}),
            b"fiqa.engine": json.dumps({"duckdb": duckdb.__version__, "pyarrow": pa.__version__}).encode(),
        }


def file_name(part: TableFile) -> str:
    """Name of a quality file's decisions below `decisions`."""
    return f"part-{part.number:06d}.parquet"


def is_of_run(url: str, run: str) -> bool:
    """Whether a complete decisions file of the run with that digest exists."""
    try:
        with storage.open_read(url) as stream:
            metadata = pq.ParquetFile(stream).schema_arrow.metadata or {}
    except (FileNotFoundError, pa.ArrowException):
        return False
    return bool(metadata.get(provenance.DECISIONS_RUN) == run.encode())


def decisions_table(rows: pa.RecordBatch, decided: pa.Table, conditions: Sequence[str] = ()) -> pa.Table:
    """Rows of a quality file with their decided columns, in the decisions table's schema.

    `conditions`: those of the policy (drop_where), which the decided column `condition` has by number.
    """
    columns = {name: rows.column(name) for name in rows.schema.names}
    reason = decided["reason"].combine_chunks()
    columns |= {name: decided[name] for name in decided.column_names}
    columns |= {
        "keep": pc.equal(reason, 0),
        "reason": _decoded(reason, REASONS),
        "label_verdict": _decoded(decided["verdict"].combine_chunks(), VERDICTS),
        "tier": decided["tier"].combine_chunks().dictionary_encode(),
        "reviewed": _decoded(decided["reviewed"].combine_chunks(), REVIEWED),
        "condition": _decoded(decided["condition"].combine_chunks(), (None, *conditions)),
    }
    if "label" not in rows.schema.names:
        columns["label"] = pa.nulls(rows.num_rows, pa.string())
    return pa.table([_as(columns[field.name], field.type) for field in SCHEMA], schema=SCHEMA)


def _refuse_nulls(table: pa.Table, part: TableFile) -> None:
    for field in table.schema:
        if not field.nullable and table[field.name].null_count:
            raise TableError(
                f"{part.url}: the column {field.name!r} holds nulls; each row of a quality table has its place. "
                "Score its part again."
            )


def _decoded(codes: pa.Array, words: Sequence[str | None]) -> pa.Array:
    """Codes (0 = null) as a dictionary column whose dictionary has all words in their order."""
    places = pc.if_else(pc.equal(codes, 0), None, pc.subtract(codes.cast(pa.int32()), 1))
    return pa.DictionaryArray.from_arrays(places, pa.array([str(word) for word in words[1:]]))


def _as(column: pa.Array, kind: pa.DataType) -> pa.Array:
    return column if column.type == kind else column.cast(kind)


def _copied(part: TableFile) -> Iterator[pa.RecordBatch]:
    return read_part(part, [name for name in _COPIED if name in part.columns])


def _until_end(chunks: Iterator[tuple[TableFile, pa.RecordBatch | None]]) -> Iterator[pa.RecordBatch]:
    for _, batch in chunks:
        if batch is None:
            return
        yield batch


class _BackgroundWriter:
    """Writes tables in order in one other thread, with at most a few waiting; a context manager."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "background")
        self._under_way: InFlight[None] = InFlight(number=_WAITING)

    def __enter__(self) -> "_BackgroundWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def do(self, work: Callable[[pa.Table], None], table: pa.Table) -> None:
        """Put one more table in the queue; raises what an earlier one raised."""
        while self._under_way.is_full():
            self._under_way.take()[0].result()
        self._under_way.add(self._pool.submit(work, table))

    def wait(self) -> None:
        """Wait until everything is written."""
        while len(self._under_way):
            self._under_way.take()[0].result()


class _RowStream:
    """A stream of batches, taken a given number of rows at a time."""

    def __init__(self, batches: Iterator[pa.RecordBatch]) -> None:
        self._batches = batches
        self._left: pa.RecordBatch | None = None

    def take(self, rows: int) -> pa.Table:
        taken: list[pa.RecordBatch] = []
        while rows:
            batch = self._left if self._left is not None else next(self._batches, None)
            if batch is None:
                raise TableError("a quality file has more rows now than a moment ago. Is a run still writing it?")
            taken.append(batch.slice(0, rows))
            self._left = batch.slice(rows) if batch.num_rows > rows else None
            rows -= taken[-1].num_rows
        return pa.Table.from_batches(taken)


class _Manifest:
    """The kept rows in files of a fixed number of rows; a context manager."""

    def __init__(self, output: str, shard_size: int) -> None:
        self._output = output
        self._size = shard_size
        self._schema = pa.schema([SCHEMA.field(name) for name in _MANIFEST_COLUMNS])
        self._number = 0
        self._rows = 0
        self._open = ExitStack()
        self._writer: pq.ParquetWriter | None = None
        self._path: Path | None = None

    def __enter__(self) -> "_Manifest":
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def write(self, table: pa.Table) -> None:
        """Add kept rows."""
        while table.num_rows:
            if self._writer is None:
                self._begin()
            here = table.slice(0, self._size - self._rows)
            self._writer.write_table(here)  # type: ignore[union-attr]
            self._rows += here.num_rows
            table = table.slice(here.num_rows)
            if self._rows == self._size:
                self._finish()

    def close(self) -> None:
        """Publish the last file; an empty dataset has one, so that readers find its columns."""
        if self._writer is None and self._number == 0:
            self._begin()
        if self._writer is not None:
            self._finish()

    def _begin(self) -> None:
        self._path = self._open.enter_context(storage.temporary_for(self._output))
        self._writer = self._open.enter_context(
            pq.ParquetWriter(self._path, self._schema, compression="zstd", use_dictionary=_repeated_in_manifest())
        )

    def _finish(self) -> None:
        assert self._writer is not None
        assert self._path is not None
        self._writer.close()
        storage.publish(self._path, join(self._output, MANIFEST, f"part-{self._number:06d}.parquet"))
        self._open.close()
        self._writer, self._rows, self._number = None, 0, self._number + 1


def _repeated_in_manifest() -> list[str]:
    return [name for name in _REPEATED if name in _MANIFEST_COLUMNS]
