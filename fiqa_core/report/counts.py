"""Counts of the whole table: records by status, rows by reason, a histogram of the quality, quality by a column."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from fiqa_core.curation.decisions.database import row, scalar
from fiqa_core.curation.decisions.reason_codes import MEANINGS
from fiqa_core.report.group_loss import Loss, losses
from fiqa_core.report.load import GroupBy
from fiqa_core.report.settings import MOST_LABEL
from fiqa_core.wording import visible
from schemas.reasons import REASONS

_BINS = 60
_MOST_GROUPS = 30
_BANDS = 10
_ROWS_AT_ONCE = 1 << 18
_NONE = "(none)"


@dataclass(frozen=True)
class Headline:
    """rows, scored, labelled, kept, reviewed: numbers of rows; identities: labels of scored rows; kept_identities:
    of kept ones. low, median, high: of the quality, null without a scored row."""

    rows: int
    scored: int
    labelled: int
    identities: int
    kept: int
    kept_identities: int
    reviewed: int
    low: float | None
    median: float | None
    high: float | None


@dataclass(frozen=True)
class Counted:
    """A code, what it means, and how many rows have it."""

    code: str
    meaning: str
    rows: int


@dataclass(frozen=True)
class Histogram:
    """edges: float64 (n + 1,). kept, dropped: int64 (n,), scored rows; without decisions all are kept."""

    edges: np.ndarray
    kept: np.ndarray
    dropped: np.ndarray


@dataclass(frozen=True)
class Group:
    """Scored rows with one value of a column (or in one range of it): their number, numbers of their quality, and what
    they lose under the decisions."""

    name: str
    rows: int
    kept: int
    mean: float
    low: float
    median: float
    high: float
    loss: Loss


@dataclass(frozen=True)
class GroupTable:
    """Groups of one column, and how many more there are that are not listed."""

    groups: list[Group]
    more: int


def headline(db: Any) -> Headline:
    """The numbers at the top."""
    kept = "quality IS NOT NULL AND reason IS NULL"
    found = row(
        db,
        "SELECT count(*), count(quality), count(label), count(*) FILTER "
        f"({kept}), count(reviewed), min(quality), quantile_disc(quality, 0.5), max(quality) FROM rows",
    )
    identities = row(db, "SELECT count(*) FILTER (images > 0), count(*) FILTER (kept > 0) FROM identities")
    rows, scored, labelled, kept_rows, reviewed, low, median, high = found
    return Headline(rows, scored, labelled, identities[0], kept_rows, identities[1], reviewed, low, median, high)


def statuses(db: Any) -> list[Counted]:
    """Records by status, most frequent first."""
    found = db.execute("SELECT status, count(*) AS n FROM rows GROUP BY status ORDER BY n DESC, status").fetchall()
    texts = {"scored": "The network gave its output."} | {str(code): text for code, text in REASONS.items()}
    return [Counted(str(code), texts.get(str(code), ""), rows) for code, rows in found]


def reasons(db: Any, explained: Mapping[str, str]) -> list[Counted]:
    """Rows that are not kept by reason, in the order in which the rules are evaluated."""
    found = dict(db.execute("SELECT reason, count(*) FROM rows WHERE reason IS NOT NULL GROUP BY reason").fetchall())
    order = [*MEANINGS, *sorted(found.keys() - MEANINGS.keys())]
    return [
        Counted(code, explained.get(code) or MEANINGS.get(code, ""), found[code]) for code in order if code in found
    ]


def histogram(db: Any) -> Histogram | None:
    """Qualities of all scored rows in equal steps; None without one."""
    low, high = row(db, "SELECT min(quality)::DOUBLE, max(quality)::DOUBLE FROM rows")
    if low is None:
        return None
    edges = np.linspace(low, high if high > low else low + 1, _BINS + 1)
    counts = np.zeros((2, _BINS), np.int64)
    for values, dropped in _qualities(db, "reason IS NOT NULL"):
        place = np.clip(np.searchsorted(edges, values, "right") - 1, 0, _BINS - 1)
        for kind in (False, True):
            counts[int(kind)] += np.bincount(place[dropped == kind], minlength=_BINS)
    return Histogram(edges, counts[0], counts[1])


def groups(db: Any, number: int) -> GroupTable:
    """Quality by the column `g<number>`: by its values, the most frequent first; many different numbers in bands."""
    name = f"g{number}"
    numbers = scalar(db, f"SELECT any_value(typeof({name})) FROM rows") == "DOUBLE"
    different = scalar(db, f"SELECT count(DISTINCT {name}) FROM rows WHERE quality IS NOT NULL") or 0
    if numbers and different > _MOST_GROUPS:
        return GroupTable(_bands(db, name), 0)
    shown = f"coalesce(nullif(printf('%.6g', {name}), 'nan'), '')" if numbers else f"left({name}, {MOST_LABEL})"
    found = _grouped(db, shown, name if numbers else f"count(*) DESC, {name}", name)
    return GroupTable(found, max(0, different - sum(group.name != _NONE for group in found)))


def _bands(db: Any, name: str) -> list[Group]:
    shares = [place / _BANDS for place in range(1, _BANDS)]
    cuts = row(db, f"SELECT quantile_disc({name}, {shares}) FROM rows WHERE quality IS NOT NULL")[0]
    edges = sorted(set(cuts))
    texts = [f"below {edges[0]:.6g}", *(f"{a:.6g} to {b:.6g}" for a, b in pairwise(edges))]
    texts.append(f"{edges[-1]:.6g} and above")
    cases = " ".join(f"WHEN {name} < {edge!r}::DOUBLE THEN {place}" for place, edge in enumerate(edges))
    band = f"CASE WHEN {name} IS NULL THEN NULL {cases} ELSE {len(edges)} END"
    found = _grouped(db, f"({band})::VARCHAR", f"min({name})", band)
    return [replace(group, name=texts[int(group.name)]) if group.name.isdecimal() else group for group in found]


def _grouped(db: Any, shown: str, order: str, by: str) -> list[Group]:
    query = (
        f"SELECT any_value({shown}), any_value(({by})::VARCHAR), count(*) AS n, count(*) FILTER (reason IS NULL), "
        "avg(quality), quantile_disc(quality, [0.1, 0.5, 0.9]) "
        f"FROM rows WHERE quality IS NOT NULL GROUP BY {by} ORDER BY {order} LIMIT {_MOST_GROUPS}"
    )
    lost = losses(db, by)
    return [
        Group(_NONE if name is None else visible(str(name)), rows, kept, mean, low, median, high, lost[value])
        for name, value, rows, kept, mean, (low, median, high) in db.execute(query).fetchall()
    ]


def _qualities(db: Any, dropped: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    query = f"SELECT quality, ({dropped}) AS dropped FROM rows WHERE quality IS NOT NULL"
    for batch in db.sql(query).to_arrow_reader(_ROWS_AT_ONCE):
        yield batch.column(0).to_numpy(), batch.column(1).to_numpy(zero_copy_only=False)


def group_tables(db: Any, groups_by: Sequence[GroupBy]) -> dict[str, GroupTable]:
    """`groups` of each column or file that was asked for, by its name."""
    return {group.name: groups(db, number) for number, group in enumerate(groups_by)}
