"""The output folder of a scoring run: begin, resume, overwrite, and the final account."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fiqa_core import storage
from fiqa_core.scoring.progress import FOLDER as PROGRESS_FOLDER
from fiqa_core.scoring.score_unit import unit_file
from fiqa_core.scoring.settings import ScoreSettings
from fiqa_core.scoring.summary import Summary, report
from fiqa_core.shards.plan import Plan
from fiqa_core.shards.unit import Unit
from schemas import versions
from schemas.reasons import SHARD_LEVEL

RUN = "run.json"
SUMMARY = "summary.json"
_OURS = {"quality", "plan", RUN, SUMMARY, PROGRESS_FOLDER, "_tmp"}


class OutputError(ValueError):
    """The output folder cannot be used as asked; the message says why and what to do."""


@dataclass(frozen=True)
class Account:
    """How a run ended. `complete`: every unit has its file and every record its row."""

    complete: bool
    problems: tuple[str, ...]


def prepare_output(output: str, resume: bool, overwrite: bool) -> int | None:
    """Check that an output may be written to, clear it (`overwrite`), sweep left-over temporaries.

    Returns the unit size of the run to resume, None for a new run.

    Raises:
        OutputError: it is not empty (and neither flag is given), or holds files that are not ours.
    """
    present = set(storage.list_names(output))
    if overwrite:
        foreign = sorted(present - _OURS)
        if foreign:
            raise OutputError(
                f"{output}: --overwrite removes only what a scoring run writes, but there is also {foreign[0]!r}. "
                "Remove it yourself or choose another --output."
            )
        for name in sorted(present):
            storage.remove(storage.join(output, name))
        return None
    if RUN not in present:
        if present - {"_tmp", PROGRESS_FOLDER, "plan"} or (present and not resume):
            raise OutputError(
                f"{output}: not empty (it holds {sorted(present)[0]!r}) and not a scoring run that can be resumed. "
                "Choose another --output."
            )
        return None
    if not resume:
        raise OutputError(
            f"{output}: holds an earlier run. --resume keeps its finished units and does the rest, "
            "--overwrite starts afresh; or choose another --output."
        )
    storage.sweep(output)
    storage.remove(storage.join(output, PROGRESS_FOLDER))
    return int(_read_run(output)["unit_size"])


def begin(output: str, inputs: Sequence[str], unit_size: int, settings: ScoreSettings, plan: Plan) -> None:
    """Write down what this run is, or (resuming) make sure that it is the same run.

    Raises:
        OutputError: another checkpoint, setting or input set, with the differences named.
    """
    shards = _shards(plan.units)
    if storage.exists(storage.join(output, RUN)):
        _refuse_other_run(output, unit_size, settings, shards)
    storage.remove(storage.join(output, SUMMARY))  # it says "finished", which this run is not yet
    storage.make_folder(storage.join(output, "quality"))
    if storage.is_local(output):
        storage.make_folder(storage.join(output, PROGRESS_FOLDER))
    run = {
        "inputs": list(inputs),
        "unit_size": unit_size,
        "plan_version": versions.PLAN_VERSION,
        "package_version": versions.PACKAGE_VERSION,
        "units": len(plan.units),
        "settings": settings.to_dict(),
        "shards": shards,
    }
    with storage.temporary_for(output) as path:
        rows = [unit.to_dict() | {"file": unit_file("", unit, settings).lstrip("/")} for unit in plan.units]
        pq.write_table(pa.Table.from_pylist(rows), path, compression="zstd")
        storage.publish(path, storage.join(output, "plan", "units.parquet"))
    storage.publish_bytes(json.dumps(run, indent=1).encode(), output, storage.join(output, RUN))


def write_summary(output: str, planned: int, seconds: float, settings: dict[str, Any], summary: Summary) -> None:
    """Publish `summary.json`; its presence means that every unit was tried."""
    missing = _missing_units(summary, planned)
    lost = sum(count for name, count in summary.status.items() if name in SHARD_LEVEL)
    content = report(summary) | {
        "complete": not (missing or summary.failures or summary.repeated or lost),
        "units": planned,
        "units_missing": missing[:100],
        "units_counted_twice": summary.repeated,
        "shards_not_read_to_their_end": lost,
        "records_this_run": summary.rows_now,
        "seconds": round(seconds, 3),
        "images_per_second": round(summary.rows_now / seconds, 3) if seconds > 0 else None,
        "worker_seconds": round(summary.seconds, 3),
        "settings": settings,
    }
    storage.publish_bytes(json.dumps(content, indent=1).encode(), output, storage.join(output, SUMMARY))


def close_account(output: str, units: Sequence[Unit], settings: ScoreSettings) -> tuple[dict[str, Any], Account]:
    """Compare what the run says it wrote with what lies in the output."""
    summary = json.loads(storage.read_bytes(storage.join(output, SUMMARY)))
    expected = {unit_file("", unit, settings).rpartition("/")[2] for unit in units}
    found = set(storage.list_names(storage.join(output, "quality")))
    failed = {failure["unit"] for failure in summary["failed_units"]}
    absent = expected - found - {unit_file("", u, settings).rpartition("/")[2] for u in units if u.number in failed}
    problems = [f"unit {f['unit']} of {f['shard']} failed: {f['reason']}" for f in summary["failed_units"]]
    if summary["shards_not_read_to_their_end"]:
        problems.append(
            f"{summary['shards_not_read_to_their_end']} shards could not be read to their end (see `status`)"
        )
    if summary["units_missing"] or summary["units_counted_twice"]:
        problems.append("the runner lost or repeated units; run again with --resume")
    if sum(summary["status"].values()) != summary["records"]:
        problems.append("the counts per status do not add up to the records")
    problems += [f"quality/{name} is missing" for name in sorted(absent)[:10]]
    problems += [f"quality/{name} does not belong to this run" for name in sorted(found - expected)[:10]]
    storage.remove(storage.join(output, PROGRESS_FOLDER))
    storage.sweep(output)
    return summary, Account(not problems, tuple(problems))


def _missing_units(summary: Summary, planned: int) -> list[int]:
    missing = ((1 << planned) - 1) & ~summary.units
    return [number for number in range(planned) if missing >> number & 1] if missing else []


def _shards(units: Sequence[Unit]) -> dict[str, str]:
    return {unit.shard: f"{unit.url}|{unit.version}|{unit.size if not unit.listing else ''}" for unit in units}


def _read_run(output: str) -> dict[str, Any]:
    place = storage.join(output, RUN)
    try:
        return dict(json.loads(storage.read_bytes(place)))
    except ValueError as error:
        raise OutputError(f"{place}: not readable ({error}). Start afresh with --overwrite.") from error


def _refuse_other_run(output: str, unit_size: int, settings: ScoreSettings, shards: dict[str, str]) -> None:
    earlier = _read_run(output)
    differences = (
        [f"unit size: {earlier['unit_size']} then, {unit_size} now"] if earlier["unit_size"] != unit_size else []
    )
    then, now = _flat(earlier["settings"]), _flat(settings.to_dict())
    differences += [
        f"{k}: {then.get(k)} then, {now.get(k)} now" for k in sorted(then | now) if then.get(k) != now.get(k)
    ]
    before = earlier["shards"]
    differences += [f"input {name}: not in the earlier run" for name in sorted(shards.keys() - before.keys())[:5]]
    differences += [f"input {name}: missing now" for name in sorted(before.keys() - shards.keys())[:5]]
    changed = sorted(name for name in shards.keys() & before.keys() if shards[name] != before[name])
    differences += [f"input {name}: its content changed" for name in changed[:5]]
    if differences:
        raise OutputError(
            f"{output}: the earlier run was another one, so --resume would mix two tables:\n  "
            + "\n  ".join(differences)
            + "\nUse the earlier settings, or --overwrite, or another --output."
        )


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in settings.items() if k != "read"} | dict(settings.get("read", {}))
