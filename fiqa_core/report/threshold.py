"""How many images and identities any threshold would keep: exact counts at a few hundred thresholds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fiqa_core.curation.decisions.database import row
from fiqa_core.curation.decisions.policy import ROW_RULES
from fiqa_core.curation.decisions.written_conditions import DROP_WHERE
from schemas.drops import Drop

LEAST_IMAGES = (1, 2, 3, 5, 10)
_STEPS = 400
_ROWS_AT_ONCE = 1 << 18
# What a threshold would do in their place.
_OF_QUALITY = (
    *(placed.rule.code for placed in ROW_RULES if placed.section == "quality" and placed.rule.code != DROP_WHERE),
    Drop.BELOW_GLOBAL_QUANTILE.value,
    Drop.BELOW_IDENTITY_QUANTILE.value,
)


@dataclass(frozen=True)
class Kept:
    """images: scored rows of at least each threshold. identities: by the least number of such images: labels that have
    that many. Lists are as long as the thresholds."""

    images: list[int]
    identities: dict[int, list[int]]


@dataclass(frozen=True)
class Thresholds:
    """values: float32, ascending; the first keeps every scored row. all: of all scored rows. rest: of those that no
    rule but the rules of quality dropped; None without decisions. start: place of the run's own threshold."""

    values: np.ndarray
    all: Kept
    rest: Kept | None
    start: int


def thresholds(db: Any, decided: bool, own: float | None) -> Thresholds | None:
    """Counts at evenly spaced quantiles, and at the run's own threshold; None without a scored row."""
    shares = [step / _STEPS for step in range(_STEPS + 1)]
    found = row(db, f"SELECT quantile_disc(quality, {shares}) FROM rows")[0]
    if found is None:
        return None
    values = np.unique(np.array(found if own is None else [*found, own], np.float32))
    start = int(np.searchsorted(values, np.float32(found[0] if own is None else own)))
    rest = _kept(db, values, f"reason IS NULL OR reason IN {_sql(_OF_QUALITY)}") if decided else None
    return Thresholds(values, _kept(db, values, "true"), rest, start)


def text_of(value: float) -> str:
    """The shortest text that is read back as this 32-bit number."""
    return np.format_float_positional(np.float32(value), unique=True, trim="0")


def _kept(db: Any, values: np.ndarray, condition: str) -> Kept:
    rows = f"SELECT quality, label FROM rows WHERE quality IS NOT NULL AND ({condition})"
    images = _at_least(db, f"SELECT quality FROM ({rows})", values)[:, 0]
    columns = ", ".join(f"best[{least}] AS b{least}" for least in LEAST_IMAGES)
    best = f"SELECT max(quality, {max(LEAST_IMAGES)}) AS best FROM ({rows}) WHERE label IS NOT NULL GROUP BY label"
    identities = _at_least(db, f"SELECT {columns} FROM ({best})", values, len(LEAST_IMAGES))
    by_least = {least: identities[:, place].tolist() for place, least in enumerate(LEAST_IMAGES)}
    return Kept(images.tolist(), by_least)


def _at_least(db: Any, query: str, values: np.ndarray, columns: int = 1) -> np.ndarray:
    """int64 (thresholds, columns): how many values of each column are at least each threshold."""
    counts = np.zeros((len(values) + 1, columns), np.int64)
    for batch in db.sql(query).to_arrow_reader(_ROWS_AT_ONCE):
        for place in range(columns):
            found = batch.column(place).drop_null().to_numpy()
            reached = np.searchsorted(values, found, "right")
            counts[:, place] += np.bincount(reached, minlength=len(values) + 1)
    return np.asarray(counts[::-1].cumsum(axis=0)[::-1][1:])


def _sql(codes: Sequence[str]) -> str:
    return "(" + ", ".join(f"'{code}'" for code in codes) + ")"
