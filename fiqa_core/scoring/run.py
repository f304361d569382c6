"""The output folder of a scoring run: begin, resume, overwrite, and the final account."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as pq

from fiqa_core import storage
from fiqa_core.alignment.first_look import FirstLook
from fiqa_core.runs.folder import OutputError, RunKind, clear, earlier_run, prepare, remove_notes
from fiqa_core.runs.layout import (
    CROPS,
    LOCK,
    PLAN,
    PROGRESS,
    PROGRESS_NOTE,
    QUALITY,
    RUN,
    SUMMARY,
    TEMPORARIES,
    UNITS,
    parse_run,
    sealed,
    unsealed,
)
from fiqa_core.scoring.losses import in_words
from fiqa_core.scoring.resume import file_name, is_whole, plan_table, settle_differences
from fiqa_core.scoring.settings import ScoreSettings
from fiqa_core.scoring.summary import Summary, report
from fiqa_core.shards.plan import Plan
from fiqa_core.shards.unit import Unit
from fiqa_core.wording import counted
from schemas import versions
from schemas.reasons import Status

_READ_AT_ONCE = 4
_SHOWN = 10


def _nothing_finished(output: str) -> bool:
    return SUMMARY not in storage.list_names(output) and not storage.list_names(storage.join(output, QUALITY))


SCORING_RUN = RunKind(
    "a scoring run",
    "units",
    RUN,
    parse_run,
    # Planned at most, nothing scored.
    before=frozenset({PLAN, PROGRESS, TEMPORARIES, LOCK}),
    own=frozenset({RUN, SUMMARY, LOCK, QUALITY, CROPS, PLAN, TEMPORARIES, PROGRESS}),
    below={
        QUALITY: re.compile(r"part-\d{6,}-[0-9a-f]{12}\.parquet"),
        CROPS: re.compile(r"part-\d{6,}-[0-9a-f]{12}\.tar"),
        PLAN: re.compile(r"units\.parquet|(files|tar)-[0-9a-f]{12}\.parquet|class_labels\.json|_tmp"),
        f"{PLAN}/{TEMPORARIES}": re.compile(r"fiqa-[0-9a-f]+"),
        TEMPORARIES: re.compile(r"fiqa-[0-9a-f]+"),
        PROGRESS: PROGRESS_NOTE,
    },
    swept=(TEMPORARIES, f"{PLAN}/{TEMPORARIES}", PROGRESS),
    # Not the plan: it is that of the new run already.
    cleared=(SUMMARY, QUALITY, CROPS, PROGRESS),
    nothing_finished=_nothing_finished,
)


@dataclass(frozen=True)
class Account:
    """How a run ended. `complete`: every unit has its file and every record its row."""

    complete: bool
    problems: tuple[str, ...]


def prepare_output(output: str, resume: bool, overwrite: bool) -> int | None:
    """Check that an output may be written to (`fiqa_core.runs.folder.prepare`).

    Returns the unit size of the run to resume, None for a new run.
    """
    earlier = prepare(output, SCORING_RUN, resume, overwrite)
    return int(earlier["unit_size"]) if earlier and resume else None


def begin(
    output: str, inputs: Sequence[str], unit_size: int, settings: ScoreSettings, plan: Plan, overwrite: bool = False
) -> dict[str, Any] | None:
    """Write the account of this run, after clearing an earlier run (`overwrite`) or checking that it is the same.

    Returns the summary of an earlier run that left nothing to do, None if there are units to score.

    Raises:
        OutputError: another checkpoint, setting or input set, with the differences named.
    """
    if overwrite:
        clear(output, SCORING_RUN)
        _remove_earlier_plans(output, plan)
    elif (earlier := earlier_run(output, SCORING_RUN)) is not None:
        settle_differences(output, earlier, unit_size, settings, plan.units)
        summary = _finished(output, plan.units, settings)
        if summary is not None:
            return summary
    storage.remove(storage.join(output, SUMMARY))  # it would say that this run is finished
    run = {
        "inputs": list(inputs),
        "unit_size": unit_size,
        "plan_version": versions.PLAN_VERSION,
        "schema_version": versions.QUALITY_SCHEMA_VERSION,
        "package_version": versions.PACKAGE_VERSION,
        "units": len(plan.units),
        "settings": settings.to_dict(),
    }
    with storage.temporary_for(output) as path:
        pq.write_table(plan_table(plan.units, settings), path, compression="zstd")
        storage.publish(path, storage.join(output, UNITS))
    # From here on --resume knows the run, so no other file of the run may be written before this.
    storage.publish_bytes(json.dumps(run, indent=1).encode(), output, storage.join(output, RUN))
    storage.make_folder(storage.join(output, QUALITY))
    if storage.is_local(output):
        storage.make_folder(storage.join(output, PROGRESS))
    return None


def _finished(output: str, units: Sequence[Unit], settings: ScoreSettings) -> dict[str, Any] | None:
    place = storage.join(output, SUMMARY)
    summary = unsealed(place)
    if summary is None:
        return None
    expected = {file_name(unit, settings) for unit in units}
    quality = storage.join(output, QUALITY)
    if not summary["complete"] or set(storage.list_names(quality)) != expected:
        return None
    if settings.crops is not None and not _has_crops(output, expected, summary):
        return None
    # On a disk a file may have been damaged since. A store is asked after each upload whether the file is complete.
    if storage.is_local(output):
        places = [storage.join(quality, name) for name in sorted(expected)]
        if not all(storage.in_flight(places, is_whole, _READ_AT_ONCE)):
            return None
    return summary


def _has_crops(output: str, tables: set[str], summary: dict[str, Any]) -> bool:
    """Whether the tars of aligned faces are there; a unit without a face has none, so units are looked at then."""
    tars = set(storage.list_names(storage.join(output, CROPS)))
    return tars == {name.replace(".parquet", ".tar") for name in tables} or not summary["status"].get(Status.ALIGNED)


def _remove_earlier_plans(output: str, plan: Plan) -> None:
    listings = {unit.listing.rpartition("/")[2] for unit in plan.units} | set(plan.written)
    for name in storage.list_names(storage.join(output, PLAN)):
        if name not in listings:
            storage.remove(storage.join(output, PLAN, name))


def write_summary(
    output: str,
    planned: int,
    seconds: float,
    settings: dict[str, Any],
    summary: Summary,
    first_look: FirstLook | None = None,
) -> None:
    """Publish `summary.json`; its presence means that every unit was tried.

    `first_look`: what the driver saw of the first pictures, where they are not aligned.
    """
    missing = _missing_units(summary, planned)
    lost = len({loss.shard for loss in summary.losses})
    content = report(summary)
    if first_look is not None:
        content["pictures"]["first_look"] = first_look.report()
    content |= {
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
    storage.publish_bytes(sealed(content), output, storage.join(output, SUMMARY))


def close_account(output: str, units: Sequence[Unit], settings: ScoreSettings) -> tuple[dict[str, Any], Account]:
    """Compare the summary of the run with the files in the output.

    Raises:
        OutputError: the job ended without an account.
    """
    try:
        summary = json.loads(storage.read_bytes(storage.join(output, SUMMARY)))
    except FileNotFoundError as error:
        raise OutputError(
            f"{output}: the job ended without {SUMMARY}, so its last step did not run. Do workers and this process "
            "see the same --output? Finished units are kept: run again with --resume."
        ) from error
    expected = {file_name(unit, settings) for unit in units}
    found = set(storage.list_names(storage.join(output, QUALITY)))
    failed = {failure["unit"] for failure in summary["failed_units"]}
    absent = expected - found - {file_name(unit, settings) for unit in units if unit.number in failed}
    problems = [f"unit {f['unit']} of {f['shard']} failed: {f['reason']}" for f in summary["failed_units"]]
    if summary["shards_not_read_to_their_end"]:
        problems.append(f"{counted(summary['shards_not_read_to_their_end'], 'shard')} could not be read completely:")
        problems += [in_words(loss) for loss in summary["shards_broken_off"][:_SHOWN]]
        if len(summary["shards_broken_off"]) > _SHOWN:
            problems.append(f"and more: all are in {SUMMARY} (`shards_broken_off`)")
    if summary["units_missing"] or summary["units_counted_twice"]:
        problems.append("the runner lost or repeated units; run again with --resume")
    if sum(summary["status"].values()) != summary["records"]:
        problems.append("the counts per status do not add up to the records")
    problems += [f"quality/{name} is missing" for name in sorted(absent)[:10]]
    problems += [f"quality/{name} does not belong to this run" for name in sorted(found - expected)[:10]]
    remove_notes(output)
    storage.sweep(output)
    return summary, Account(not problems, tuple(problems))


def _missing_units(summary: Summary, planned: int) -> list[int]:
    missing = ((1 << planned) - 1) & ~summary.units
    return [number for number in range(planned) if missing >> number & 1] if missing else []
