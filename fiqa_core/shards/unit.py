"""The two things that readers hand on: a unit is a part of a shard, a record is one image of it."""

from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple

import pyarrow as pa

from schemas.reasons import Status

# A larger stored image is hashed and not kept: a hostile record must not fill the memory.
MAX_STORED_BYTES = 64 << 20


@dataclass(frozen=True)
class Unit:
    """A part of a dataset that any worker can open by itself; small, picklable, no image in it.

    Attributes:
        number: place in the plan, from 0.
        container: name of the container format that reads it.
        shard: URI of the shard as the user gave it; url: the same, absolute.
        start, stop: the part of the shard, counted in the container's own measure (files of a listing, row groups,
            bytes); both 0 where the unit is the whole shard.
        first_index: `index` of the unit's first record in its shard.
        records: number of records, or -1 if only reading shows it.
        size: bytes of the shard that belong to the unit, or -1 if not known (progress uses it).
        version: changes when the shard's content does.
        listing: URL of the list of files (folders), or the part of the `.idx` (RecordIO), else empty.
        take: of a sample, how many of its records are read (`shards/sample.py`); -1: all of them.
        place: of a sample, how many records of the dataset lie before it; -1 where it is not of a sample.
    """

    number: int
    container: str
    shard: str
    url: str
    start: int
    stop: int
    first_index: int
    records: int
    size: int
    version: str
    listing: str = ""
    take: int = -1
    place: int = -1

    @property
    def rows(self) -> int:
        """Number of records that are read of it, or -1 if only reading shows it."""
        return self.records if self.take < 0 else self.take

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON and Parquet; those of a sample only where it is of one."""
        values = asdict(self)
        if self.take < 0:
            del values["take"], values["place"]
        return values

    def identity(self) -> dict[str, Any]:
        """The values that decide which part of which dataset this is. They do not change with the place of the output
        (and of the listing in it), nor with how the input was written (`faces`, `faces/`, `/data/faces`)."""
        values = self.to_dict() | {"listing": self.listing.rpartition("/")[2]}
        del values["shard"]
        return values


OF_SAMPLE = ("take", "place")

# The table of a plan: a row a unit, with the name of its quality file. That of a sample has `OF_SAMPLE` too.
PLAN_SCHEMA = pa.schema(
    [
        (each.name, pa.int64() if each.type in (int, "int") else pa.string())
        for each in fields(Unit)
        if each.name not in OF_SAMPLE
    ]
    + [("file", pa.string())]
)
SAMPLE_PLAN_SCHEMA = pa.schema([*PLAN_SCHEMA, *((name, pa.int64()) for name in OF_SAMPLE)])


class Fault(NamedTuple):
    """Why a record (or the rest of a shard) has no image to score."""

    status: Status
    message: str


class Record(NamedTuple):
    """One record of a shard: an image's stored bytes, or the fault that stands in for them.

    `key` is None only in the one record that stands for the rest of a shard. `sha256` is set if the bytes were hashed
    but not kept. `note` goes to the table's message although the image is usable. `label_from` says where the label
    was found; without a label, which fields look like one ("" if none does). `reached`: bytes of the shard that were
    read when it was found, for progress; 0 if not known.
    """

    key: str | None
    index: int  # type: ignore[assignment]  # shadows tuple.index, which nobody wants here
    label: str | None
    data: bytes | None
    fault: Fault | None = None
    sha256: bytes | None = None
    note: str | None = None
    label_from: str = ""
    reached: int = 0


@dataclass(frozen=True)
class ReadSettings:
    """What a reader needs to know from outside: names of columns or sidecar fields ("" = find out), size limit."""

    label_field: str = ""
    image_field: str = ""
    max_stored_bytes: int = MAX_STORED_BYTES
    key_field: str = ""
