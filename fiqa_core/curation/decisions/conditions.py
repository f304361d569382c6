"""Rows that are dropped because a condition of the policy holds for them (`quality: drop_where`, --drop-where)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fiqa_core.curation.decisions.database import insert
from fiqa_core.curation.decisions.reason_codes import reason_code
from fiqa_core.curation.decisions.written_conditions import DROP_WHERE
from fiqa_core.settings.fields import SettingError
from fiqa_core.tables.condition_rows import RowConditions
from fiqa_core.tables.groups import Groups
from fiqa_core.tables.quality_files import TableFile

OPTION = "--drop-where"
_ANSWERS = pa.schema([("rid", pa.int64()), ("condition", pa.uint8()), ("holds", pa.bool_())])


@dataclass(frozen=True)
class Matches:
    """What `load_matches` found. conditions: the texts. matched, unknown: for each, scored rows for which it holds, and
    those for which that cannot be said because a value is null."""

    conditions: tuple[str, ...] = ()
    matched: tuple[int, ...] = ()
    unknown: tuple[int, ...] = ()


def row_conditions(
    texts: Sequence[str], parts: Sequence[TableFile], groups: Groups | None, scale: str = "quality"
) -> RowConditions:
    """The conditions of a policy, bound to the columns of a table.

    Raises:
        TableError: a column that the table does not have, or one that cannot be compared so. SettingError: a threshold
            in scores where these are of several networks (`scale`).
    """
    found = RowConditions(texts, parts, groups, OPTION)
    if scale != "quality" and "quality" in found.columns:
        raise SettingError(
            f"{OPTION}: a condition on quality is a threshold in scores, but the tables are of several networks, whose "
            "scores are on different scales: use percentile or predicted_fnmr"
        )
    return found


def load_matches(db: Any, texts: Sequence[str], conditions: RowConditions | None) -> Matches:
    """Fill `matched`: rid and number (from 1) of the first condition that holds for the row; rows of none are left out.

    Raises:
        TableError: a damaged file, or a value that cannot be compared.
    """
    if conditions is None or not texts:
        return Matches()
    insert(db, "answers", _ANSWERS, _answers(conditions))
    first = "SELECT rid, min(condition) AS condition FROM answers WHERE holds GROUP BY rid"
    db.execute(f"CREATE OR REPLACE TABLE matched AS {first}")
    counts = db.execute(
        "SELECT condition, count(*) FILTER (holds), count(*) FILTER (holds IS NULL) FROM answers JOIN raw USING (rid) "
        "WHERE quality IS NOT NULL GROUP BY condition"
    ).fetchall()
    db.execute("DROP TABLE answers")
    found = {number: (held, unknown) for number, held, unknown in counts}
    each = [found.get(number, (0, 0)) for number in range(1, len(texts) + 1)]
    return Matches(tuple(texts), tuple(held for held, _ in each), tuple(unknown for _, unknown in each))


def condition_summary(db: Any, matches: Matches) -> dict[str, Any]:
    """For `summary.json`: of each condition the scored rows that it holds for, those that it dropped (no earlier rule
    or condition did), and those for which it cannot be said; empty where the policy has no condition."""
    if not matches.conditions:
        return {}
    dropped = dict(
        db.execute(
            f"SELECT condition, count(*) FROM state JOIN matched USING (rid) WHERE reason = {reason_code(DROP_WHERE)} "
            "GROUP BY condition"
        ).fetchall()
    )
    return {
        DROP_WHERE: [
            {"condition": text, "matched": matched, "dropped": dropped.get(number, 0), "null": unknown}
            for number, (text, matched, unknown) in enumerate(
                zip(matches.conditions, matches.matched, matches.unknown, strict=True), 1
            )
        ]
    }


def _answers(conditions: RowConditions) -> Iterator[pa.RecordBatch]:
    """For each row and condition that holds or cannot be told: rid, number of the condition, and true or null."""
    for rids, answers in conditions.batches():
        for number, holds in enumerate(answers, 1):
            places = np.flatnonzero(pc.fill_null(holds, True).to_numpy(zero_copy_only=False))
            if len(places):
                columns = [
                    pa.array(rids[places]),
                    pa.array(np.full(len(places), number, np.uint8)),
                    holds.take(pa.array(places)),
                ]
                yield pa.RecordBatch.from_arrays(columns, schema=_ANSWERS)
