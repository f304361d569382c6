"""The index of a tar that is cut into units: a Parquet file beside the plan with the places where reading can begin."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fiqa_core.shards.tar.border import NO_STOP, START, Border
from fiqa_core.shards.unit import Unit
from fiqa_core.shards.webdataset.marks import Mark
from fiqa_core.storage import StorageError, StoredFile, join, open_read, publish, temporary_for
from fiqa_core.wording import one_line

# Raised when another version would find other places, or records, in the same tar.
_RULES = 1
_ABOUT = b"fiqa_tar_index"
_ROWS = 65_536
_REMEDY = "Remove it and run again with --resume: it is made anew."
_OPEN = 8  # indices that a process keeps in memory
_SCHEMA = pa.schema(
    [
        pa.field("start", pa.int64(), nullable=False),
        pa.field("index", pa.int64(), nullable=False),
        pa.field("unit", pa.bool_(), nullable=False),
        pa.field("old", pa.bool_(), nullable=False),
        pa.field("first", pa.int64()),
        pa.field("attributes", pa.map_(pa.binary(), pa.binary()), nullable=False),
    ]
)


class TarIndexError(StorageError):
    """The index of a tar cannot be read, so its units cannot be."""


class TarIndex(NamedTuple):
    """The places of one tar.

    Attributes:
        table: a row a place, in order, the tar's start included. records: rows of the whole tar. size: its bytes.
        url: of the index.
    """

    table: pa.Table
    records: int
    size: int
    url: str

    def units(self, whole: Unit) -> Iterator[Unit]:
        """The units of the tar; `whole`: all of it as one."""
        begins = self.table.filter(self.table["unit"])
        if len(begins) < 2:
            yield whole
            return
        starts, firsts = begins["start"].to_pylist(), begins["index"].to_pylist()
        stops, ends = [*starts[1:], self.size], [*firsts[1:], self.records]
        for start, stop, first, end in zip(starts, stops, firsts, ends, strict=True):
            part = replace(whole, start=start, stop=stop, first_index=first, records=end - first, size=stop - start)
            yield replace(part, listing=self.url)

    def border(self, start: int) -> Border:
        """The place at this byte.

        Raises:
            TarIndexError: there is none.
        """
        row = self.table.slice(int(np.searchsorted(self.table["start"].to_numpy(), start)), 1).to_pylist()
        if not row or row[0]["start"] != start:
            raise TarIndexError(f"{self.url}: knows no place at byte {start}, where the plan cuts the tar. {_REMEDY}")
        return Border(start, row[0]["old"], row[0]["first"], dict(row[0]["attributes"]))

    def stop(self, unit: Unit) -> int:
        """Where reading a unit stops; nowhere if it is the tar's last, so that a missing end is noticed."""
        return NO_STOP if unit.stop >= self.size else unit.stop

    def enter(self, unit: Unit, index: int) -> Unit:
        """The unit from the last place on that is not behind the record with this `index`."""
        row = int(np.searchsorted(self.table["index"].to_numpy(), index, "right")) - 1
        start, first = self.table["start"][row].as_py(), self.table["index"][row].as_py()
        if not unit.start < start < unit.stop:
            return unit
        records = unit.first_index + unit.records - first
        return replace(unit, start=start, first_index=first, records=records, size=unit.stop - start)


def index_url(workspace: str, file: StoredFile, unit_size: int, max_bytes: int) -> str:
    """Where the index of a tar is kept. Its name tells all that it depends on, so an index that is there is right."""
    known = [_RULES, file.url, file.size, file.version, unit_size, max_bytes]
    return join(workspace, f"tar-{hashlib.sha256(json.dumps(known).encode()).hexdigest()[:12]}.parquet")


def write_index(url: str, workspace: str, marks: Sequence[Mark], records: int, size: int) -> TarIndex:
    """Publish an index, whole; `size`: bytes of the tar."""
    all_marks = [Mark(START, 0, True), *marks]
    columns = [
        [mark.border.offset for mark in all_marks],
        [mark.index for mark in all_marks],
        [mark.unit for mark in all_marks],
        [mark.border.old for mark in all_marks],
        [mark.border.first for mark in all_marks],
        [list(mark.border.attributes.items()) for mark in all_marks],
    ]
    arrays = [pa.array(values, field.type) for values, field in zip(columns, _SCHEMA, strict=True)]
    about = json.dumps({"records": records, "size": size}).encode()
    table = pa.table(arrays, schema=_SCHEMA.with_metadata({_ABOUT: about}))
    with temporary_for(workspace) as temporary:
        pq.write_table(table, temporary, compression="zstd", row_group_size=_ROWS)
        publish(temporary, url)
    return TarIndex(table, records, size, url)


@lru_cache(_OPEN)
def read_index(url: str) -> TarIndex:
    """The index at a URL.

    Raises:
        TarIndexError: it is damaged, or is not an index.
        OSError: the store failed, or it is missing.
    """
    try:
        with open_read(url) as stream:
            table = pq.read_table(stream)
        about = json.loads((table.schema.metadata or {})[_ABOUT])
        table = table.select(_SCHEMA.names).cast(_SCHEMA)
        starts, firsts = table["start"].to_numpy(), table["index"].to_numpy()
        if not len(starts) or starts[0] or firsts[0] or (np.diff(starts) <= 0).any() or (np.diff(firsts) < 0).any():
            raise ValueError("its places are not in order")
        return TarIndex(table, int(about["records"]), int(about["size"]), url)
    except (pa.ArrowException, KeyError, ValueError, TypeError, OSError) as error:
        if isinstance(error, StorageError) or (isinstance(error, OSError) and error.errno is not None):
            raise
        raise TarIndexError(f"{url}: not readable as the index of a tar ({one_line(error, 200)}). {_REMEDY}") from error
