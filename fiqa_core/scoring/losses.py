"""The parts of a shard that could not be read: where they begin, how large they are, and why."""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from fiqa_core.shards.unit import Unit
from fiqa_core.wording import counted
from schemas.reasons import SHARD_LEVEL, Status

# Of more losses than this only the number is kept (`Summary.status`), because a summary crosses the edges of a job.
MOST_LOSSES = 200
_STRETCH = re.compile(r"bytes (\d{1,18}) to (\d{1,18}) of the archive are lost\b")  # reading went on behind it
_BYTE = re.compile(r"\bbytes? (\d{1,18})\b")
_COMPRESSED = (".gz", ".tgz")
_CODES = pa.array([str(status) for status in SHARD_LEVEL])


class Loss(NamedTuple):
    """One row that stands for the rest of a shard, or for a stretch of it.

    Attributes:
        shard, index: of the row. unit: number of its unit, -1 while it is unknown. status, message: of the row.
        byte: offset in the (decompressed) shard where reading broke off, -1 if unknown. bytes: size of the stretch, or
            of the shard after that offset, -1 if unknown (a truncated shard has none, because the cut part cannot be
            measured).
        records: how many records are lost, at least. number: of this loss in its unit, from 0.
    """

    shard: str
    index: int  # type: ignore[assignment]  # shadows tuple.index, which is not used
    unit: int = -1
    status: str = ""
    message: str = ""
    byte: int = -1
    bytes: int = -1
    records: int = 1
    number: int = 0


def losses_in(table: pa.Table) -> tuple[Loss, ...]:
    """The losses among rows of the quality table (columns shard, index, status, message)."""
    rows = table.select([name for name in ("shard", "index", "status", "message") if name in table.column_names])
    rows = rows.filter(pc.is_in(rows["status"].cast(pa.string()), _CODES)).slice(0, MOST_LOSSES)
    return tuple(
        Loss(row["shard"], row["index"], status=str(row["status"]), message=row.get("message") or "")
        for row in rows.to_pylist()
    )


def measured(losses: Sequence[Loss], unit: Unit, rows: int) -> tuple[Loss, ...]:
    """The losses of one unit, with their size from its plan. `rows`: of the unit's file, the losses included."""
    if not losses:
        return ()
    missing = max(len(losses), unit.rows - (rows - len(losses)))
    found = []
    for number, loss in enumerate(losses):
        at = _BYTE.search(loss.message)
        byte = int(at[1]) if at is not None else -1
        left = -1
        is_last = number == len(losses) - 1
        stretch = _STRETCH.match(loss.message)
        if stretch is not None:
            left = max(0, int(stretch[2]) - byte)
        elif byte >= 0 and is_last and unit.size >= 0 and not unit.url.lower().endswith(_COMPRESSED):
            left = max(0, unit.size - byte) if unit.start == unit.stop == 0 else max(0, unit.stop - byte)
        # The missing records of a unit are counted once.
        records = missing - len(losses) + 1 if is_last else 1
        found.append(loss._replace(unit=unit.number, byte=byte, bytes=left, records=records, number=number))
    return tuple(found)


def kept(losses: Sequence[Loss]) -> tuple[Loss, ...]:
    """At most `MOST_LOSSES` losses: the first of every unit before the second of any, so that a shard with many losses
    does not displace others."""
    return tuple(sorted(losses, key=lambda loss: (loss.number, loss))[:MOST_LOSSES])


def described(losses: Sequence[Loss]) -> list[dict[str, Any]]:
    """Entries for `summary.json`: each part of a shard that was not read, in order; unknown values are null."""
    return [
        {
            "shard": loss.shard,
            "unit": loss.unit,
            "index": loss.index,
            "status": loss.status,
            "reason": loss.message,
            "byte": loss.byte if loss.byte >= 0 else None,
            "bytes_lost": loss.bytes if loss.bytes >= 0 and loss.status == Status.SHARD_UNREADABLE else None,
            "records_lost_at_least": loss.records,
        }
        for loss in sorted(losses)
    ]


def in_words(loss: dict[str, Any]) -> str:
    """One entry of `described`, for the log."""
    count = loss["records_lost_at_least"]
    lost = f"at least {counted(count, 'record')} unknown"
    if loss["bytes_lost"] is not None:
        lost += f", {counted(loss['bytes_lost'], 'byte')} not read"
    if _STRETCH.match(loss["reason"]):
        return f"{loss['shard']}, at record {loss['index']:,}: {loss['reason']} ({lost}); read on behind it"
    return f"{loss['shard']} broke off at record {loss['index']:,}: {loss['reason']} ({lost})"
