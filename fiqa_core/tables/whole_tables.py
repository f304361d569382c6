"""Tables that may be used: complete runs of one network, each record once. Others are refused, with what is missing."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

from fiqa_core.shards.sample import Sample
from fiqa_core.storage import above, in_flight
from fiqa_core.tables.footers import Footer, read_footer
from fiqa_core.tables.one_network import refuse_mixed, refuse_twice
from fiqa_core.tables.quality_files import TableError, table_files
from fiqa_core.tables.run_gaps import Gap, gaps_of_run

Compare = Literal["scores", "calibrated", "embeddings", "nothing"]

_log = logging.getLogger(__name__)
_FOOTERS_AT_ONCE = 16
_SHOWN = 5
_LISTED = 1000
_SAMPLE_FIELDS = {each.name for each in fields(Sample)}


@dataclass(frozen=True)
class WholeTables:
    """The files of tables, and what is missing in them (nothing, unless that was allowed).

    `files`: tables in the order given, the files of each by name; damaged ones are left out. `names`: the user's name
    of the table, by the URL of the file. `samples`: which tables are of a part of their dataset only, in words.
    """

    files: tuple[Footer, ...]
    names: Mapping[str, str]
    gaps: tuple[Gap, ...] = ()
    samples: tuple[str, ...] = ()

    @property
    def urls(self) -> list[str]:
        """Where the files are."""
        return [file.url for file in self.files]


def whole_tables(tables: Sequence[str], allow_incomplete: bool = False, compare: Compare = "scores") -> WholeTables:
    """Compare tables with the plans of their runs, with one another, and with what their shards held.

    A file without a plan beside it (another tool's, or a copy) is used as it is; copies of a run's files must have no
    gap in their unit numbers.

    Args:
        tables: outputs of scoring or embedding runs, their `quality` folders, Parquet files, or globs.
        allow_incomplete: log what is missing instead of refusing it.
        compare: what must be equal in all files: `scores` (every setting, and no record may occur twice), `calibrated`
            (the same, or every network was calibrated on one set by one judge), `embeddings`
            (the network only; tables may be of several datasets), or `nothing`.

    Raises:
        TableError: nothing there; a run that is unfinished or still at work; units that failed or whose files are gone
            or damaged; shards that were not read to their end; different settings; the same records twice.
    """
    names: dict[str, str] = {}
    for table in tables:
        for url in table_files(table):
            names.setdefault(url, table)
    return whole_files(names, allow_incomplete, compare)


def whole_files(names: Mapping[str, str], allow_incomplete: bool, compare: Compare) -> WholeTables:
    """As `whole_tables`, for files that are known: the user's name of the table, by the URL of each file."""
    footers = list(in_flight(list(names), read_footer, _FOOTERS_AT_ONCE))
    gaps: list[Gap] = []
    said: list[str] = []
    for folder in dict.fromkeys(file.folder for file in footers):
        files = [file for file in footers if file.folder == folder]
        found = list(gaps_of_run(above(folder), files, allow_incomplete))
        gaps += found
        said += [f"{_table_name(files, names)}: {line}" for line in lines_of(found, files)]
    if said and not allow_incomplete:
        raise TableError.of_lines(
            [
                "the table is not whole:",
                *(f"  {line}" for line in said),
                "Numbers over a part (shares, quantiles, rules about identities) are not those of the whole. Mend it "
                "with the scoring command's --resume, or go on with --allow-incomplete (in Python: "
                "allow_incomplete=True).",
            ]
        )
    for line in said:
        _log.warning("incomplete table allowed: %s", line)
    readable = [file for file in footers if not (file.damage and gaps)]
    whole = [file for file in readable if not file.damage]
    if compare != "nothing":
        refuse_mixed(whole, names, compare == "embeddings", compare == "calibrated")
    if compare in ("scores", "calibrated"):
        refuse_twice(whole, names)
    samples = tuple(_samples(whole, names))
    for line in samples:
        _log.warning("%s; all numbers are of the sample, not of the dataset", line)
    return WholeTables(tuple(readable), names, tuple(gaps), samples)


def _samples(files: Sequence[Footer], names: Mapping[str, str]) -> list[str]:
    """The tables that were scored with --limit or --sample, each with what was taken."""
    found: dict[str, str] = {}
    for file in files:
        settings = (file.settings or {}).get("sample")
        if isinstance(settings, dict) and settings.keys() == _SAMPLE_FIELDS:
            found.setdefault(names.get(file.url, file.folder), Sample(**settings).in_words())
    return [f"{name}: {words}" for name, words in found.items()]


def described(gaps: Sequence[Gap]) -> dict[str, Any]:
    """Counts of what is missing, and the first gaps; empty if nothing is."""
    if not gaps:
        return {}
    kinds = Counter(gap.kind for gap in gaps)
    return {
        "unknown": unknown_words(gaps),
        "units_missing": kinds["unit"],
        "shards_broken_off": len({gap.shard for gap in gaps if gap.kind == "shard"}),
        "records_unknown_at_least": sum(gap.records for gap in gaps),
        "gaps": [
            {"kind": gap.kind, "shard": gap.shard, "index": gap.index, "records_at_least": gap.records}
            | {"reason": gap.reason}
            for gap in gaps[:_LISTED]
        ],
    }


def lines_of(gaps: Sequence[Gap], files: Sequence[Footer] = ()) -> list[str]:
    """What is missing, as text: counts, and the first of each kind by name."""
    lines = [gap.reason for gap in gaps if gap.kind == "run"]
    units = [gap for gap in gaps if gap.kind == "unit"]
    if units:
        there = sum(not file.damage for file in files)
        known = sum(gap.records for gap in units)
        lines.append(
            f"{len(units):,} {_are(len(units), 'unit')} missing, {there:,} {_are(there, 'file')} there; at least "
            f"{known:,} {'record' if known == 1 else 'records'} unknown: "
            + _first_names([f"{gap.shard} from record {gap.index:,}, {gap.reason}" for gap in units])
        )
    shards = [gap for gap in gaps if gap.kind == "shard"]
    if shards:
        lines.append(
            f"{unknown_words(shards)}: "
            + _first_names([f"{gap.shard} at record {gap.index:,}, {gap.reason}" for gap in shards])
        )
    return lines


def unknown_words(gaps: Sequence[Gap]) -> str:
    """`1 shard broke off; at least 5 records unknown`."""
    shards = len({gap.shard for gap in gaps if gap.kind == "shard"})
    units = sum(gap.kind == "unit" for gap in gaps)
    records = sum(gap.records for gap in gaps)
    parts = [f"{shards:,} {'shard' if shards == 1 else 'shards'} broke off"] if shards else []
    parts += [f"{units:,} {_are(units, 'unit')} missing"] if units else []
    parts += [] if parts else ["the run is not over"]
    what = "record" if records == 1 else "records"
    return f"{', '.join(parts)}; " + (f"at least {records:,} {what} unknown" if records else "records unknown")


def _are(count: int, what: str) -> str:
    return f"{what} is" if count == 1 else f"{what}s are"


def _first_names(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return "; ".join(names[:_SHOWN]) + (f"; and {more:,} more" if more > 0 else "")


def _table_name(files: Sequence[Footer], names: Mapping[str, str]) -> str:
    return names.get(files[0].url, files[0].folder)
