"""What is missing in a table, compared with the plan of its run: units, and the ends of shards."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fiqa_core.runs.layout import RUN, SUMMARY, UNITS, read_own_json, read_run_file
from fiqa_core.runs.lock import holder_of
from fiqa_core.storage import StorageError, join, open_read, stat
from fiqa_core.tables.footers import Footer
from fiqa_core.wording import counted

_OWN_NAME = re.compile(r"part-\d{6,}-[0-9a-f]{12}\.parquet")
_NAMED = 1000  # units without a file, of a table without a plan
_PLAN_COLUMNS = ["number", "shard", "first_index", "records", "file"]


@dataclass(frozen=True)
class Gap:
    """Something that is missing in a table.

    Attributes:
        kind: `unit` (a part of the dataset without rows), `shard` (a shard that was not read to its end), `run` (the
            run itself is not finished, or its files do not match).
        shard, index: where it begins; "" and 0 of a `run`. records: how many records are unknown, at least.
        reason: what was found, for people.
    """

    kind: str
    shard: str
    index: int
    records: int
    reason: str


def gaps_of_run(output: str | None, files: Sequence[Footer], without_damaged: bool = False) -> Iterator[Gap]:
    """What is missing in the files of one run's table.

    Args:
        output: folder of the run, or the folder above the files if there is no run; None: no folder.
        files: the files of the table that were named.
        without_damaged: a damaged file of a table without a plan counts as a gap (otherwise reading it fails).
    """
    if output is None:
        yield from (_damaged(file) for file in files if file.damage and without_damaged)
        for file in files:
            yield from _broken(file, -1)
        return
    planned, (is_run, damage) = _plan(output), _run_state(output)
    if damage and planned is not None:
        yield Gap("run", "", 0, 0, f"{join(output, RUN)} is not readable ({damage})")
    summary, state = _summary(output) if is_run else ({}, "")
    if planned is None and is_run:
        yield Gap("run", "", 0, 0, f"{UNITS} is missing or damaged, so the table cannot be compared with its plan")
    if state:
        yield Gap("run", "", 0, 0, state)
    there = {file.name: file for file in files}
    if planned is None:
        if not is_run:
            yield from _between(files)
        yield from (_damaged(file) for file in files if file.damage and (without_damaged or is_run))
    else:
        yield from _units(planned, there, _failures(summary))
    known = {str(row["file"]): int(row["records"]) for row in planned or ()}
    for file in files:
        yield from _broken(file, known.get(file.name, -1))


def _units(
    planned: Sequence[Mapping[str, Any]], there: Mapping[str, Footer], failures: Mapping[int, str]
) -> Iterator[Gap]:
    for row in planned:
        file, records = there.get(str(row["file"])), int(row["records"])
        if file is None:
            reason = failures.get(int(row["number"]), "")
            reason = f"failed: {reason}" if reason else f"{row['file']} is not among the files of the table"
        elif file.damage:
            reason = f"{file.url} is damaged ({file.damage})"
        elif records >= 0 and file.rows != records and not file.breaks:
            reason = f"{file.url} has {counted(file.rows, 'row')} for {counted(records, 'record')}"
            records = max(0, records - file.rows)
        else:
            continue
        yield Gap("unit", str(row["shard"]), int(row["first_index"]), max(1, records), reason)
    for name in sorted(there.keys() - {str(row["file"]) for row in planned}):
        yield Gap("run", "", 0, 0, f"{there[name].url} is not a file of this run")


def _between(files: Sequence[Footer]) -> Iterator[Gap]:
    """Units whose files are missing between others, in a table that was copied without its run's plan."""
    found = {number for file in files if (number := _number(file)) is not None}
    last = max(found, default=-1)
    unnamed = max(0, last + 1 - len(found) - _NAMED)  # they are counted with the first
    for number in islice((each for each in range(last) if each not in found), _NAMED):
        reason = f"no file of unit {number:,} is there, though there is one of unit {last:,}"
        yield Gap("unit", files[0].folder, 0, 1 + unnamed, reason)
        unnamed = 0


def _number(file: Footer) -> int | None:
    """The unit of a file that still has its original name; a renamed file counts as a unit of its own."""
    number = (file.unit or {}).get("number") if _OWN_NAME.fullmatch(file.name) else None
    return number if isinstance(number, int) and number >= 0 else None


def _damaged(file: Footer) -> Gap:
    return Gap("unit", file.url, 0, 1, f"{file.url} is not readable as Parquet ({file.damage})")


def _broken(file: Footer, planned: int) -> Iterator[Gap]:
    read = file.rows - len(file.breaks)
    lost = max(len(file.breaks), planned - read)
    for number, row in enumerate(file.breaks):
        # Missing records are counted once, with the first break of a unit.
        yield Gap("shard", row.shard, row.index, lost - len(file.breaks) + 1 if number == 0 else 1, row.message)


def _plan(output: str) -> list[dict[str, Any]] | None:
    place = join(output, UNITS)
    if stat(place) is None:
        return None
    try:
        with open_read(place) as stream:
            file = pq.ParquetFile(stream)
            sampled = "take" in file.schema_arrow.names
            plan = file.read(columns=[*_PLAN_COLUMNS, "take"] if sampled else _PLAN_COLUMNS)
            if sampled:  # that many records of the unit are the sample's
                plan = plan.drop_columns(["records"]).rename_columns({"take": "records"})
            numbers = {"number": pa.int64(), "first_index": pa.int64(), "records": pa.int64()}
            kinds = [(name, numbers.get(name, pa.string())) for name in _PLAN_COLUMNS]
            plan = plan.select(_PLAN_COLUMNS).cast(pa.schema(kinds))
            return None if any(column.null_count for column in plan.columns) else list(plan.to_pylist())
    except StorageError:
        raise
    except (pa.ArrowException, KeyError, ValueError, OSError):
        return None


def _run_state(output: str) -> tuple[bool, str]:
    """Whether a scoring run was begun in a folder, and why its `run.json` cannot be read ("" if it can)."""
    try:
        read_run_file(output)
    except FileNotFoundError:
        return False, ""
    except ValueError as error:
        return False, str(error)
    return True, ""


def _summary(output: str) -> tuple[dict[str, Any], str]:
    """The content of `summary.json`, and why the run is not finished ("" if it is)."""
    holder = holder_of(output)
    place = join(output, SUMMARY)
    if stat(place) is None:
        if holder:
            return {}, f"{holder} is still at work on it"
        return {}, f"it is not finished (there is no {SUMMARY}: it was broken off, or is still at work)"
    try:
        summary = read_own_json(place)
    except (ValueError, FileNotFoundError) as error:
        return {}, f"{place} is not readable ({error})"
    return summary, f"{holder} is at work on it again" if holder else ""


def _failures(summary: Mapping[str, Any]) -> dict[int, str]:
    listed = summary.get("failed_units")
    found = (each for each in (listed if isinstance(listed, list) else []) if isinstance(each, dict))
    return {each["unit"]: str(each.get("reason", "")) for each in found if isinstance(each.get("unit"), int)}
