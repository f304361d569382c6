"""What the footer of a table file says: rows, settings, the unit of the dataset, and shards that broke off."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fiqa_core.storage import StorageError, open_read
from fiqa_core.wording import one_line
from schemas import provenance
from schemas.reasons import SHARD_LEVEL

_BREAK_COLUMNS = ("shard", "index", "status", "message")
# Both status codes begin with this. If a column's range lies outside, no row has either code.
_LOW, _HIGH = "shard_", "shard`"


@dataclass(frozen=True)
class Break:
    """A row that stands for the unread rest of a shard: its place, and what was found there."""

    shard: str
    index: int
    message: str


@dataclass(frozen=True)
class Footer:
    """One file of a table.

    Attributes:
        url: of the file. rows: number of rows. settings: of the scoring run, None if the file has none (another tool
            wrote it). unit: the unit of the dataset that it covers, None likewise.
        breaks: rows that stand for the rest of a shard. places: whether it has the columns that name the
            shard and record of a row. damage: why it cannot be read, "" if it can.
    """

    url: str
    rows: int = 0
    settings: Mapping[str, Any] | None = None
    unit: Mapping[str, Any] | None = None
    breaks: tuple[Break, ...] = ()
    places: bool = False
    damage: str = ""

    @property
    def folder(self) -> str:
        """The folder that holds it."""
        return self.url.rpartition("/")[0]

    @property
    def name(self) -> str:
        """The file's name without its folder."""
        return self.url.rpartition("/")[2]


def read_footer(url: str) -> Footer:
    """Read the footer of one file; rows are read only if the status column may contain a broken-off shard."""
    try:
        with open_read(url) as stream:
            file = pq.ParquetFile(stream, page_checksum_verification=True)
            metadata = file.schema_arrow.metadata or {}
            return Footer(
                url,
                file.metadata.num_rows,
                _mapping(metadata.get(provenance.SETTINGS)),
                _mapping(metadata.get(provenance.UNIT)),
                _breaks(file),
                {"shard", "index", "key"} <= set(file.schema_arrow.names),
            )
    except StorageError:
        raise
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk failed; Arrow's own errors have no errno
        return Footer(url, damage=one_line(error, 200))


def footer_digest(url: str) -> str:
    """SHA-256 of a Parquet file's size and footer: the place, size and value range of every column chunk in it."""
    with open_read(url) as stream:
        size = stream.seek(0, 2)
        stream.seek(max(0, size - 8))
        length = int.from_bytes(stream.read(4), "little")
        stream.seek(max(0, size - 8 - length))
        return hashlib.sha256(size.to_bytes(8, "little") + stream.read()).hexdigest()


def _mapping(text: bytes | None) -> Mapping[str, Any] | None:
    if text is None:
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _breaks(file: pq.ParquetFile) -> tuple[Break, ...]:
    if "status" not in file.schema_arrow.names:
        return ()
    names = [file.metadata.schema.column(number).path for number in range(file.metadata.num_columns)]
    place = names.index("status") if "status" in names else -1
    wanted = [name for name in _BREAK_COLUMNS if name in file.schema_arrow.names]
    found: list[Break] = []
    for group in range(file.num_row_groups):
        if place >= 0 and _has_none(file.metadata.row_group(group).column(place).statistics):
            continue
        table = file.read_row_group(group, columns=wanted)
        status = table["status"].cast(pa.string())
        table = table.filter(pc.is_in(status, pa.array([str(code) for code in SHARD_LEVEL])))
        found += (
            Break(str(row.get("shard") or ""), int(row.get("index") or 0), str(row.get("message") or ""))
            for row in table.to_pylist()
        )
    return tuple(found)


def _has_none(statistics: Any) -> bool:
    """Whether the statistics show that no value lies in the range."""
    if statistics is None or not statistics.has_min_max:
        return False
    low, high = statistics.min, statistics.max
    return isinstance(low, str) and isinstance(high, str) and (high < _LOW or low > _HIGH)
