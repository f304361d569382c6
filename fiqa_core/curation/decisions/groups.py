"""What each group of the user's own attributes loses under a policy, and budgets: no group loses more than a share.

A budget counts what the rules of quality drop, among the rows of a group that no earlier rule dropped. Where that is
more than the budget, the best of the dropped rows are kept again, as many as needed and no more: of all ways to keep
within the budget this one keeps the fewest rows that the policy drops, and of these the best ones.
"""

from collections.abc import Sequence
from typing import Any

from fiqa_core.curation.decisions.database import insert, scalar
from fiqa_core.curation.decisions.policy import ROW_RULES, Policy
from fiqa_core.curation.decisions.reason_codes import reason_code
from fiqa_core.settings.fields import SettingError
from fiqa_core.tables.groups import SCHEMA, Groups, group_batches
from fiqa_core.tables.quality_files import TableFile
from schemas.drops import Drop

NO_GROUP = "(no group)"
_ROUNDING = 1e-9
_QUALITY = (*(placed.rule.code for placed in ROW_RULES), Drop.BELOW_GLOBAL_QUANTILE, Drop.BELOW_IDENTITY_QUANTILE)


def load_groups(db: Any, parts: Sequence[TableFile], groups: Groups | None) -> None:
    """`groups`: rid and group (not null) of the own rows; empty without groups."""
    batches = group_batches(parts, groups) if groups is not None else iter(())
    insert(db, "given_groups", SCHEMA, batches)
    db.execute(f"CREATE TABLE groups AS SELECT rid, coalesce(\"group\", '{NO_GROUP}') AS grp FROM given_groups")
    db.execute("DROP TABLE given_groups")
    db.execute("CREATE TABLE kept_by_budget (rid BIGINT)")


def check_groups(policy: Policy, groups: Groups | None) -> None:
    """Refuse a budget that cannot be kept.

    Raises:
        SettingError: no groups; rules of size, which drop rows afterwards; or rules that drop nothing.
    """
    if policy.quality.group_budget is None:
        return
    if groups is None:
        raise SettingError("quality: group_budget needs groups: give --group-by a column of the table, or a file")
    size = policy.size
    for name in ("best_per_identity", "max_identities", "target", "min_per_identity"):
        if getattr(size, name) is not None:
            raise SettingError(
                f"quality: group_budget does not go with size: {name}, which drops rows whatever their group; filter "
                "by quality first, and the result by size"
            )
    if policy.quality.action != "drop":
        raise SettingError("quality: group_budget is for rules that drop rows; with action: weight none is dropped")


def keep_within_budget(db: Any, share: float) -> None:
    """Keep the best of what the rules of quality dropped, where a group lost more than a share (rounded down)."""
    codes = ", ".join(str(reason_code(code)) for code in _QUALITY)
    db.execute(
        "INSERT INTO kept_by_budget SELECT rid FROM ("
        f"SELECT state.rid, reason IN ({codes}) AS lost, count(*) OVER (PARTITION BY grp) AS n, "
        f"row_number() OVER (PARTITION BY grp, reason IN ({codes}) ORDER BY quality, state.rid DESC) AS worst "
        f"FROM state JOIN groups ON groups.rid = state.rid WHERE reason = 0 OR reason IN ({codes})) "
        f"WHERE lost AND worst > floor({share!r}::DOUBLE * n + {_ROUNDING}::DOUBLE)"
    )
    db.execute(
        "CREATE TABLE next AS SELECT state.* REPLACE ((CASE WHEN rid IN (SELECT rid FROM kept_by_budget) THEN 0 "
        "ELSE reason END)::UTINYINT AS reason) FROM state"
    )
    db.execute("DROP TABLE state")
    db.execute("ALTER TABLE next RENAME TO state")


def group_summary(db: Any, groups: Groups | None, policy: Policy) -> dict[str, Any]:
    """For `summary.json`: of each group scored rows, what it loses and why; and the price of a budget.

    `lost` counts all scored rows that are not kept; `lost_by_quality` those that rules of quality dropped, and
    `share_by_quality` is of the rows that no earlier rule dropped, as the budget counts them.
    """
    if groups is None:
        return {}
    codes = ", ".join(str(reason_code(code)) for code in _QUALITY)
    rows = db.execute(
        "SELECT grp, count(*), count(*) FILTER (reason != 0), "
        f"count(*) FILTER (reason IN ({codes})), count(*) FILTER (reason = 0 OR reason IN ({codes})), "
        "count(*) FILTER (state.rid IN (SELECT rid FROM kept_by_budget)), "
        "median(quality) FROM state JOIN groups ON groups.rid = state.rid WHERE quality IS NOT NULL "
        "GROUP BY grp ORDER BY grp"
    ).fetchall()
    found: dict[str, Any] = {
        "by": groups.name,
        "groups": {
            name: {
                "scored": scored,
                "lost": lost,
                "share_lost": lost / scored,
                "lost_by_quality": by_quality,
                "share_by_quality": by_quality / reached if reached else 0.0,
                "kept_by_budget": kept,
                "median_quality": middle,
            }
            for name, scored, lost, by_quality, reached, kept, middle in rows
        },
    }
    if policy.quality.group_budget is not None:
        found["budget"] = {"share": policy.quality.group_budget} | _price(db)
    return {"groups": found}


def _price(db: Any) -> dict[str, Any]:
    """What the budget costs: rows that the policy drops and that are kept, and the quality of what is kept."""
    least, mean_without, mean_with = db.execute(
        "SELECT min(quality) FILTER (back), avg(quality::DOUBLE) FILTER (NOT back), avg(quality::DOUBLE) FROM "
        "(SELECT quality, rid IN (SELECT rid FROM kept_by_budget) AS back FROM state WHERE reason = 0 ORDER BY rid)"
    ).fetchall()[0]
    back = int(scalar(db, "SELECT count(*) FROM kept_by_budget"))
    kept = int(scalar(db, "SELECT count(*) FROM state WHERE reason = 0"))
    return {
        "rows_kept_for_it": back,
        "kept_without_it": kept - back,
        "kept_with_it": kept,
        "least_quality_kept_for_it": least,
        "mean_quality_without_it": None if mean_without is None else round(mean_without, 9),
        "mean_quality_with_it": None if mean_with is None else round(mean_with, 9),
    }
