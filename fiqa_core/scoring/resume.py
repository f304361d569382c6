"""Whether a run may go on from the one in the output. Only shards that failed before may have changed."""

from collections.abc import Sequence
from errno import ENOENT
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fiqa_core import storage
from fiqa_core.runs.differences import SHOWN, as_written, changed, refuse_differences
from fiqa_core.runs.folder import OutputError
from fiqa_core.runs.layout import QUALITY, UNITS
from fiqa_core.scoring.score_unit import read_earlier, unit_file
from fiqa_core.scoring.settings import ScoreSettings
from fiqa_core.shards.formats import container_of
from fiqa_core.shards.unit import PLAN_SCHEMA, SAMPLE_PLAN_SCHEMA, Unit
from fiqa_core.wording import one_line
from schemas import versions
from schemas.reasons import SHARD_LEVEL

_GROWN = (
    "A dataset that grew need not be scored again: score only what is new (--input names the new shards, or a folder "
    "or pattern of the new images) into a second --output, and give both tables to the filter: --quality FIRST SECOND."
)


def file_name(unit: Unit, settings: ScoreSettings) -> str:
    """Name of a unit's file below `quality`."""
    return unit_file("", unit, settings).rpartition("/")[2]


def plan_table(units: Sequence[Unit], settings: ScoreSettings) -> pa.Table:
    """The plan as a table: one row for each unit, with the name of its quality file.

    A listing is named without its folder (it is beside this table), so that the same plan gives the same file in any
    output.
    """
    rows = []
    for unit in units:
        listing = unit.listing.rpartition("/")[2]
        rows.append(unit.to_dict() | {"listing": listing, "file": file_name(unit, settings)})
    return pa.Table.from_pylist(rows, schema=SAMPLE_PLAN_SCHEMA if settings.sample else PLAN_SCHEMA)


def settle_differences(
    output: str, earlier: dict[str, Any], unit_size: int, settings: ScoreSettings, units: Sequence[Unit]
) -> None:
    """Refuse a resume that would mix two tables; remove files of shards that were mended. `earlier`: the account.

    A shard may have changed if none of its earlier files is complete: its unit failed, or it could not be read to its
    end. The files of such shards are removed and scored again.

    Raises:
        OutputError: another checkpoint, setting or input set, with the differences named.
    """
    differences = _settings_differences(earlier, unit_size, settings)
    before = _earlier_units(output)
    then, now = {row["url"] for row in before}, {unit.url for unit in units}
    grown = bool(now - then) and not then - now and not differences
    differences += [f"input {name}: not in the earlier run" for name in sorted(now - then)[:SHOWN]]
    differences += [f"and {len(now - then) - SHOWN:,} inputs more"] if len(now - then) > SHOWN else []
    differences += [f"input {name}: missing now" for name in sorted(then - now)[:SHOWN]]
    gone: list[str] = []
    if not differences:
        files = {file_name(unit, settings) for unit in units}
        finished = set(storage.list_names(storage.join(output, QUALITY)))
        other = [row for row in before if row["file"] not in files and row["file"] in finished]
        whole = sorted({row["shard"] for row in other if not _lost_its_end(output, row["file"])})
        differences += [f"input {name}: its content changed" for name in whole[:SHOWN]]
        grown = bool(whole) and all(container_of(unit).index_moves for unit in units if unit.shard in whole)
        gone = [row["file"] for row in other]
    refuse_differences(output, differences, [_GROWN] if grown else [])
    for name in gone:
        storage.remove(storage.join(output, QUALITY, name))


def _settings_differences(earlier: dict[str, Any], unit_size: int, settings: ScoreSettings) -> list[str]:
    then = _flat(earlier["settings"]) | {
        "unit size": earlier["unit_size"],
        "plan version": earlier["plan_version"],
        "table schema version": earlier.get("schema_version", 1),
    }
    now = _flat(as_written(settings.to_dict())) | {
        "unit size": unit_size,
        "plan version": versions.PLAN_VERSION,
        "table schema version": versions.QUALITY_SCHEMA_VERSION,
    }
    return changed(then, now)


def _earlier_units(output: str) -> list[dict[str, Any]]:
    place = storage.join(output, UNITS)
    try:
        with storage.open_read(place) as stream:
            columns = ["shard", "url", "file"]
            rows = pq.read_table(stream, columns=columns).select(columns)
            return list(rows.cast(pa.schema([(name, pa.string()) for name in columns])).to_pylist())
    except storage.StorageError:
        raise
    except (OSError, KeyError, pa.ArrowException) as error:
        if isinstance(error, OSError) and error.errno not in (None, ENOENT):
            raise
        reason = one_line(error, 200)
        raise OutputError(f"{place}: not readable ({reason}). Start afresh with --overwrite.") from error


def _lost_its_end(output: str, file: str) -> bool:
    """Whether an earlier file covers only a part of its shard, or is damaged."""
    summary = read_earlier(storage.join(output, QUALITY, file))
    return summary is None or not SHARD_LEVEL.isdisjoint(summary.status)


def is_whole(url: str) -> bool:
    """Whether every column of a quality file can be read with correct checksums."""
    return read_earlier(url) is not None


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings one by one: those of `read` under their own names, of other groups as `group.name`."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            flat |= {k if name == "read" else f"{name}.{k}": v for k, v in value.items()}
        else:
            flat[name] = value
    return flat
