"""Apply a policy to a quality table: decide about every row, and summarise."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fiqa_core.curation.decisions.calibrated import check_columns
from fiqa_core.curation.decisions.conditions import condition_summary, load_matches, row_conditions
from fiqa_core.curation.decisions.database import (
    MEMORY_BYTES,
    Findings,
    load_findings,
    load_review,
    load_rows,
    open_database,
)
from fiqa_core.curation.decisions.decision_files import DecisionFiles
from fiqa_core.curation.decisions.filter_run import FilterRun
from fiqa_core.curation.decisions.groups import check_groups, group_summary, load_groups
from fiqa_core.curation.decisions.output_columns import columns_of, decision_rows, load_references
from fiqa_core.curation.decisions.policy import Policy
from fiqa_core.curation.decisions.recognised import check_compared
from fiqa_core.curation.decisions.review import Review
from fiqa_core.curation.decisions.rules import check_needs, decide
from fiqa_core.curation.decisions.statistics import counts, counts_of_review, statistics
from fiqa_core.tables.calibration_reach import Reach
from fiqa_core.tables.condition_rows import RowConditions
from fiqa_core.tables.groups import Groups
from fiqa_core.tables.quality_files import TableFile
from fiqa_core.tables.run_gaps import Gap
from fiqa_core.tables.whole_tables import described
from fiqa_core.wording import counted

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Tables:
    """The tables to decide about, and what is known about their rows.

    Attributes:
        own: files of the table that is filtered. against: files of tables that it must not overlap with; their rows
            are numbered after the own ones. findings: about these rows. gaps: what is missing in the own
            table; gaps_elsewhere: in those of `against` and `embeddings`. samples: which own tables are of a part of
            their dataset only, in words. review: what a person decided about own rows; the labels that it gives are
            attached to `own` already. scale: the column that orders rows: `quality`, or `percentile` where the tables
            are of several networks that were calibrated on one set. groups: which group each own row belongs to; None:
            there are none. reaches: how the scores lie in the sets that they are calibrated on.
    """

    own: tuple[TableFile, ...]
    against: tuple[TableFile, ...] = ()
    findings: Findings = field(default_factory=Findings)
    gaps: tuple[Gap, ...] = ()
    gaps_elsewhere: Mapping[str, tuple[Gap, ...]] = field(default_factory=dict)
    samples: tuple[str, ...] = ()
    scale: str = "quality"
    review: Review | None = None
    groups: Groups | None = None
    reaches: tuple[Reach, ...] = ()

    @property
    def own_rows(self) -> int:
        """Number of rows to decide about."""
        return sum(part.rows for part in self.own)

    @property
    def all_rows(self) -> int:
        """Number of rows of all tables."""
        return self.own_rows + sum(part.rows for part in self.against)


@dataclass(frozen=True)
class Resources:
    """Memory, threads and disk that the database may use.

    Attributes:
        folder: a local folder for nothing else, for data that does not fit in memory. memory_bytes: of the database
            (the process needs about 0.5 GB more). threads: 0 = one for each core.
    """

    folder: Path
    memory_bytes: int = MEMORY_BYTES
    threads: int = 0


def apply_policy(
    policy: Policy,
    tables: Tables,
    resources: Resources,
    output: str | None = None,
    run: FilterRun | None = None,
    account: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """Decide about every row; write decisions, `removed.csv` and the manifest unless `output` is None.

    Args:
        account: called with the summary after everything is decided and before anything is written.

    Returns:
        The summary: rows, kept and dropped by reason (which add up), the effect of each rule, statistics before and
        after.

    Raises:
        TableError: a table or findings that cannot be used. SettingError: the policy needs findings that are not there.
        RuntimeError: the counts do not add up. OSError: a store or disk that fails.
    """
    if tables.own_rows:
        check_needs(policy, tables.findings, bool(tables.against))
    conditions = check_tables(policy, tables)
    with open_database(resources.folder, resources.memory_bytes, resources.threads, tables.all_rows) as db:
        _log.info("reading %s", counted(tables.all_rows, "row"))
        load_rows(db, tables.own, tables.against, tables.scale)
        load_groups(db, tables.own, tables.groups)
        load_findings(db, tables.findings, tables.own_rows, tables.all_rows)
        unknown = load_review(db, tables.review)
        if unknown:
            _log.warning("the review names %s that no row of the tables has", counted(unknown, "image"))
        matches = load_matches(db, policy.quality.drop_where, conditions)
        check_compared(db, policy.quality.protect_recognised, tables.findings)
        _log.info("deciding")
        explained, spared = decide(db, policy)
        reviewed = {} if tables.review is None else {"reviewed": counts_of_review(db) | {"unknown_images": unknown}}
        summary = (
            counts(db) | reviewed | {"spared": {str(drop): rows for drop, rows in spared.items()}} | _incomplete(tables)
        )
        summary |= group_summary(db, tables.groups, policy) | condition_summary(db, matches)
        if tables.reaches:
            summary["calibrations"] = [each.to_dict() for each in tables.reaches]
        if tables.scale != "quality":
            summary["quality_is"] = tables.scale
        db.execute("DROP TABLE raw")
        columns = columns_of(db, policy)
        summary |= {"samples": list(tables.samples)} if tables.samples else {}
        summary |= {"rules": _of_rules_that_dropped(explained, summary["dropped"])} | statistics(db, columns)
        if account is not None:
            account(summary)
        if output is not None and run is not None:
            _log.info("writing the decisions")
            load_references(db, (*tables.own, *tables.against))
            digests = [digest for _, _, digest in run.quality]
            size = run.shard_size if run.write == "manifest" else 0
            files = DecisionFiles(
                output, run.digest(), policy.digest(), digests, size, explained, tables.gaps, policy.quality.drop_where
            )
            written = files.write(tables.own, decision_rows(db, columns))
            if written != summary["kept"]:
                raise RuntimeError(f"{summary['kept']} rows were decided to be kept, {written} were written as kept")
            summary["manifest_files"] = max(1, -(-written // size)) if size else 0
    return summary


def check_tables(policy: Policy, tables: Tables) -> RowConditions | None:
    """Refuse a policy that these tables cannot be decided by, before anything is searched for; its conditions, bound to
    their columns.

    Raises:
        TableError, SettingError: a rule whose column is missing, or cannot be compared so; a budget without groups.
    """
    if tables.own_rows:
        check_columns(policy, tables.own, tables.scale)
    check_groups(policy, tables.groups)
    texts = policy.quality.drop_where
    return row_conditions(texts, tables.own, tables.groups, tables.scale) if texts and tables.own_rows else None


def _incomplete(tables: Tables) -> dict[str, Any]:
    """What is missing in the tables, by the option they were given with; empty if they are complete."""
    gaps = {name: found for name, found in {"quality": tables.gaps, **tables.gaps_elsewhere}.items() if found}
    return {"incomplete": {name: described(found) for name, found in gaps.items()}} if gaps else {}


def _of_rules_that_dropped(explained: Mapping[str, str], dropped: Mapping[str, int]) -> dict[str, str]:
    return {str(drop): text for drop, text in explained.items() if dropped.get(str(drop))}
