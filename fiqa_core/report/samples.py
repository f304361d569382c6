"""Which rows are shown as faces: some of each reason, of each tenth of the qualities, and around the threshold."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from fiqa_core.curation.decisions.database import scalar
from schemas.drops import Drop

_ROWS_AT_ONCE = 1 << 18
_TENTHS = 10
_OF_TENTH = 16
# Faces for the border: evenly among all, and as many again among the worst fifth, where thresholds lie.
_BORDER = 160
_BESIDE_THRESHOLD = 24
_MOST_REVIEWED = 60


@dataclass(frozen=True)
class Tenth:
    """Scored rows between two ranks of the quality: lowest and highest quality, number of rows, and faces (rids)."""

    low: float
    high: float
    rows: int
    rids: tuple[int, ...]


@dataclass(frozen=True)
class Ranked:
    """Rows chosen by their rank: the tenths from worst to best, and rows for the border in order of their quality."""

    tenths: tuple[Tenth, ...]
    border: tuple[int, ...]


def ranked(db: Any, faces: int, threshold: float | None) -> Ranked:
    """One pass over all scored rows in order of quality (then of rows)."""
    total = int(scalar(db, "SELECT count(quality) FROM rows"))
    if not total:
        return Ranked((), ())
    edges = np.linspace(0, total, _TENTHS + 1).astype(np.int64)
    edges = np.unique(edges)
    # The worst tenth, where the faces are that a person looks for, by as many as a reason; it is whole in a small set.
    sheets = [
        _spread(low, high, faces if not low else max(1, min(faces, max(_OF_TENTH, faces // _TENTHS))))
        for low, high in pairwise(edges)
    ]
    border = np.concatenate([_spread(0, total, _BORDER), _spread(0, -(-total // 5), _BORDER)])
    if threshold is not None:
        below = int(scalar(db, f"SELECT count(*) FROM rows WHERE quality < {threshold!r}::FLOAT"))
        border = np.concatenate([border, np.arange(below - _BESIDE_THRESHOLD, below + _BESIDE_THRESHOLD)])
    border = np.unique(border[(border >= 0) & (border < total)])
    ends = np.unique(np.concatenate([edges[:-1], edges[1:] - 1]))
    rid, quality = _at(db, np.unique(np.concatenate([border, ends, *sheets])))
    tenths = (
        Tenth(quality[low], quality[high - 1], int(high - low), tuple(rid[place] for place in sheet.tolist()))
        for low, high, sheet in zip(edges[:-1].tolist(), edges[1:].tolist(), sheets, strict=True)
    )
    return Ranked(tuple(tenths), tuple(rid[place] for place in border.tolist()))


def of_reason(db: Any, reason: str, most: int) -> list[int]:
    """Rows that a rule dropped: wrong labels most certain first; others mixed, always the same ones."""
    order = "odd DESC NULLS LAST, rid" if reason == Drop.WRONG_LABEL else "hash(rid), rid"
    return _rids(db, f"SELECT rid FROM rows WHERE reason = ? ORDER BY {order} LIMIT {most}", reason)


def of_suspects(db: Any, most: int) -> tuple[list[int], int]:
    """Kept rows whose label the embeddings judge wrong, most certain first, and how many there are."""
    # No rule drops what a person keeps.
    kept = "FROM rows WHERE odd IS NOT NULL AND reason IS NULL AND reviewed IS DISTINCT FROM 'keep'"
    total = int(scalar(db, f"SELECT count(*) {kept}"))
    return _rids(db, f"SELECT rid {kept} ORDER BY odd DESC, rid LIMIT {most}"), total


def of_reviewed(db: Any) -> list[int]:
    """Rows that a person has judged."""
    query = f"SELECT rid FROM rows WHERE reviewed IS NOT NULL ORDER BY reviewed, rid LIMIT {_MOST_REVIEWED}"
    return _rids(db, query)


def best_of(db: Any, labels: Sequence[str]) -> dict[str, int]:
    """The row of best quality of each identity that has a scored one."""
    query = "SELECT label, best_rid FROM identities WHERE best_rid IS NOT NULL AND list_contains(?, label)"
    return dict(db.execute(query, [list(labels)]).fetchall())


def _rids(db: Any, query: str, *parameters: Any) -> list[int]:
    return [rid for (rid,) in db.execute(query, list(parameters)).fetchall()]


def _spread(low: int, high: int, most: int) -> np.ndarray:
    """At most so many ranks, evenly spaced, in [low, high)."""
    return np.unique(np.linspace(low, high - 1, min(most, high - low)).round().astype(np.int64))


def _at(db: Any, places: np.ndarray) -> tuple[dict[int, int], dict[int, float]]:
    """Rid and quality of the rows at these ranks (ascending)."""
    rids: dict[int, int] = {}
    qualities: dict[int, float] = {}
    first = 0
    db.execute("SET preserve_insertion_order = true")  # without it a stream may come in another order (duckdb 2.0)
    query = "SELECT rid, quality FROM rows WHERE quality IS NOT NULL ORDER BY quality, rid"
    for batch in db.sql(query).to_arrow_reader(_ROWS_AT_ONCE):
        here = places[np.searchsorted(places, first) : np.searchsorted(places, first + batch.num_rows)]
        found = batch.take(here - first)
        rids |= dict(zip(here.tolist(), found.column(0).to_pylist(), strict=True))
        qualities |= dict(zip(here.tolist(), found.column(1).to_pylist(), strict=True))
        first += batch.num_rows
    db.execute("SET preserve_insertion_order = false")
    return rids, qualities
