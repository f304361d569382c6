"""Statistics of a dataset before and after a policy."""

from typing import Any

from fiqa_core.curation.decisions.database import DROP, KEEP, RELABELLED, VERDICTS, row, scalar
from fiqa_core.curation.decisions.output_columns import ColumnsOf
from fiqa_core.curation.decisions.reason_codes import MEANINGS, REASONS
from fiqa_core.curation.decisions.rules import exact_steps
from schemas.drops import Drop

_QUANTILES = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
_BINS = 50


def counts(db: Any) -> dict[str, Any]:
    """Numbers of records kept, and dropped by each reason; rows that stand for the rest of a shard are not records and
    are counted apart (`unread_rows`).

    Raises:
        RuntimeError: they do not add up.
    """
    found = dict(db.execute("SELECT reason, count(*) FROM state GROUP BY reason").fetchall())
    rows = int(scalar(db, "SELECT count(*) FROM raw WHERE own"))
    dropped = {code: int(found.get(REASONS.index(code), 0)) for code in MEANINGS}
    kept = int(found.get(0, 0))
    if kept + sum(dropped.values()) != rows or scalar(db, "SELECT count(DISTINCT rid) FROM state") != rows:
        raise RuntimeError(f"{kept} rows kept and {sum(dropped.values())} dropped are not the {rows} rows of the table")
    unread = dropped.pop(str(Drop.NOT_READ))
    return {"rows": rows - unread, "kept": kept, "dropped": dropped, "unread_rows": unread}


def counts_of_review(db: Any) -> dict[str, int]:
    """Rows that a person decided about: `keep`, `drop`, and `relabelled` (which may be kept or dropped as well)."""
    counted = ", ".join(f"count(*) FILTER (code & {bit} > 0)" for bit in (KEEP, DROP, RELABELLED))
    found = row(db, f"SELECT {counted} FROM reviewed")
    return dict(zip(("keep", "drop", "relabelled"), map(int, found), strict=True))


def statistics(db: Any, columns: ColumnsOf) -> dict[str, Any]:
    """`before` (all scored rows) and `after` (kept rows): images, identities, qualities, tiers, weights, verdicts."""
    low, high = row(db, "SELECT min(quality), max(quality) FROM state")
    edges = [] if low is None else [low + (high - low) * step / _BINS for step in range(_BINS + 1)]
    steps = exact_steps(db)
    return {
        name: _describe(db, columns, where, edges, steps)
        for name, where in (("before", "quality IS NOT NULL"), ("after", "reason = 0"))
    }


def _describe(db: Any, columns: ColumnsOf, where: str, edges: list[float], steps: float) -> dict[str, Any]:
    images, unlabelled, identities = row(
        db, f"SELECT count(*), count(*) FILTER (ident IS NULL), count(DISTINCT ident) FROM state WHERE {where}"
    )
    described: dict[str, Any] = {"images": images, "identities": identities, "images_without_label": unlabelled}
    described["images_per_identity"] = _distribution(
        db, f"(SELECT count(*) AS v FROM state WHERE {where} AND ident IS NOT NULL GROUP BY ident)", 1.0
    )
    described["quality"] = _distribution(db, f"(SELECT quality AS v FROM state WHERE {where})", steps)
    if images:
        described["quality"]["histogram"] = {"edges": edges, "counts": _histogram(db, where, edges)}
    tiers = db.execute(f"SELECT {columns.tier} AS t, count(*) FROM state WHERE {where} GROUP BY t").fetchall()
    described["tiers"] = {name: dict(tiers).get(name, 0) for name in "ABCDE"}
    verdicts = dict(db.execute(f"SELECT verdict, count(*) FROM state WHERE {where} GROUP BY verdict").fetchall())
    described["label_verdicts"] = {
        str(name or "not_judged"): verdicts[code] for code, name in enumerate(VERDICTS) if code in verdicts
    }
    if where == "reason = 0":
        described["weights"] = _distribution(
            db, f"(SELECT {columns.weight} AS v FROM state WHERE {where})", float(2**40)
        )
        described["found_by_quality_rules"] = scalar(db, f"SELECT count(*) FROM state WHERE {where} AND found")
    return described


def _distribution(db: Any, values: str, steps: float) -> dict[str, Any]:
    """Minimum, mean, quantiles (values that occur) and maximum; empty if there are no values."""
    count, low, high, total, quantiles = row(
        db,
        f"SELECT count(v), min(v), max(v), sum((v::DOUBLE * {steps!r}::DOUBLE)::HUGEINT)::DOUBLE, "
        f"quantile_disc(v, {list(_QUANTILES)}) FROM {values}",
    )
    if not count:
        return {}
    named = {str(share): value for share, value in zip(_QUANTILES, quantiles, strict=True)}
    return {"min": low, "mean": total / steps / count, "max": high, "quantiles": named}


def _histogram(db: Any, where: str, edges: list[float]) -> list[int]:
    low, width = edges[0], (edges[-1] - edges[0]) or 1.0
    place = f"least(floor((quality::DOUBLE - {low!r}::DOUBLE) / {width!r}::DOUBLE * {_BINS}), {_BINS - 1})::INTEGER"
    found = dict(db.execute(f"SELECT {place} AS p, count(*) FROM state WHERE {where} GROUP BY p").fetchall())
    return [found.get(number, 0) for number in range(_BINS)]
