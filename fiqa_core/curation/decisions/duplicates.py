"""Rows that show the same picture: by stored bytes in SQL, nearly the same picture by `near_groups`.

`linked` (rid, reason, other, similarity) collects the rows that are dropped because of another row; `other` is that
row, null if a whole group is dropped.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from fiqa_core.curation.decisions.database import VERDICTS, row
from fiqa_core.curation.decisions.near_groups import Nearness, near_duplicates
from fiqa_core.curation.decisions.originals import original_first
from fiqa_core.curation.decisions.policy import Duplicates, Near, Policy
from fiqa_core.curation.decisions.reason_codes import reason_code
from schemas.drops import Drop
from schemas.label_verdicts import LabelVerdict

# The best of several rows: first those whose label is not judged wrong, then by quality, then the first row.
BEST_FIRST = f"verdict = {VERDICTS.index(LabelVerdict.WRONG_LABEL)}, quality DESC, rid"
_DIGEST = "s0, s1, s2, s3"


def link_duplicates(db: Any, policy: Policy) -> None:
    """Fill `linked` from `state` (what is still kept there), `raw` and `pairs`."""
    db.execute("CREATE TABLE linked (rid BIGINT, reason UTINYINT, other BIGINT, similarity FLOAT)")
    exact = policy.overlap.exact or policy.duplicates.exact != "off"
    if exact:
        _gather_same_bytes(db)
    if policy.overlap.exact:
        _overlap_exact(db)
    if policy.overlap.near:
        _overlap_near(db, policy.near)
    if policy.duplicates.exact != "off":
        _duplicates_exact(db, policy.duplicates)
    if exact:
        db.execute("DROP TABLE same")
    if policy.duplicates.near != "off":
        link_near_duplicates(db, policy.duplicates, policy.near)


def _gather_same_bytes(db: Any) -> None:
    """`same`: kept own rows, and rows of --against, that share their digest with another row."""
    db.execute(
        "CREATE TABLE same AS "
        "WITH candidate AS (SELECT r.rid, r.own, s0, s1, s2, s3 FROM raw r "
        "  WHERE s0 IS NOT NULL AND (NOT own OR rid IN (SELECT rid FROM state WHERE reason = 0))), "
        "shared AS (SELECT s0 FROM candidate GROUP BY s0 HAVING count(*) > 1) "
        "SELECT c.*, s.ident, s.quality, s.verdict FROM candidate c SEMI JOIN shared USING (s0) "
        "LEFT JOIN state s ON c.own AND s.rid = c.rid"
    )


def _overlap_exact(db: Any) -> None:
    db.execute(
        f"INSERT INTO linked SELECT rid, {reason_code(Drop.OVERLAP_EXACT)}, other, 1 FROM same "
        f"JOIN (SELECT {_DIGEST}, min(rid) AS other FROM same WHERE NOT own GROUP BY {_DIGEST}) USING ({_DIGEST}) "
        "WHERE own"
    )


def _overlap_near(db: Any, near: Near) -> None:
    """A pair names one row of each group with the same bytes; it holds for the whole group."""
    digest = ", ".join(f"r.{word}" for word in _DIGEST.split(", "))
    db.execute(
        "CREATE TABLE near AS SELECT r.rid, s0, s1, s2, s3, b, similarity FROM (SELECT a, arg_min(b, (-similarity, b)) "
        f"AS b, max(similarity) AS similarity FROM pairs WHERE b >= (SELECT count(*) FROM state) AND "
        f"{_similar_enough(near)} GROUP BY a) LEFT JOIN raw r ON r.rid = a"
    )
    db.execute(
        f"INSERT INTO linked SELECT rid, {reason_code(Drop.OVERLAP_NEAR)}, arg_min(b, (-similarity, b)), "
        "max(similarity) FROM (SELECT rid, b, similarity FROM near WHERE s0 IS NULL UNION ALL "
        "SELECT r.rid, b, similarity FROM near n JOIN raw r "
        f"ON ({digest}) = ({digest.replace('r.', 'n.')}) WHERE r.own) WHERE {_alive('rid')} GROUP BY rid"
    )
    db.execute("DROP TABLE near")


def _duplicates_exact(db: Any, duplicates: Duplicates) -> None:
    """One entry for each row that is dropped, by scope (`within`: labels equal; `across`: labels differ; `all`:
    both)."""
    best = f"first_value(rid) OVER (PARTITION BY {_DIGEST} ORDER BY {BEST_FIRST})"
    best_here = f"first_value(rid) OVER (PARTITION BY {_DIGEST}, ident ORDER BY {BEST_FIRST})"
    winner = f"first_value(ident) OVER (PARTITION BY {_DIGEST} ORDER BY {BEST_FIRST})"
    mixed = f"min(ident) OVER (PARTITION BY {_DIGEST}) <> max(ident) OVER (PARTITION BY {_DIGEST})"
    rows = f"(SELECT * FROM same WHERE own AND {_alive('rid')})"
    labelled = f"(SELECT * FROM {rows} WHERE ident IS NOT NULL)"
    goes = {
        ("within", "best"): f"SELECT rid, {best_here} AS other, rid <> other AS goes FROM {labelled}",
        ("within", "drop_all"): f"SELECT rid, {best_here} AS other, rid <> other AS goes FROM {labelled}",
        ("across", "best"): f"SELECT rid, {best} AS other, ident <> {winner} AS goes FROM {labelled}",
        ("across", "drop_all"): f"SELECT rid, NULL AS other, {mixed} AS goes FROM {labelled}",
        ("all", "best"): f"SELECT rid, {best} AS other, rid <> other AS goes FROM {rows}",
        ("all", "drop_all"): f"SELECT rid, CASE WHEN {mixed} THEN NULL ELSE {best} END AS other, "
        f"coalesce(rid <> other, true) AS goes FROM {rows}",
    }[duplicates.exact, duplicates.across]
    db.execute(f"INSERT INTO linked SELECT rid, {reason_code(Drop.DUPLICATE_EXACT)}, other, 1 FROM ({goes}) WHERE goes")


def link_near_duplicates(db: Any, duplicates: Duplicates, near: Near) -> None:
    """Add to `linked` what `duplicates.near` drops of the rows that are still kept.

    A pair, or membership in a crowd, names one row of each group with the same bytes; it holds for the whole group.
    """
    _gather_members(db, "true" if duplicates.near == "all" else "ident IS NOT NULL", near)
    members = db.execute("SELECT * FROM members").fetchnumpy()
    pairs = db.execute(
        "SELECT a, b, similarity, kind = 'phash' AS hashed, coalesce(crowd, -1) AS crowd "
        f"FROM pairs WHERE {_own_pairs(near)}"
    ).fetchnumpy()
    db.execute("DROP TABLE members")
    by_rid = np.argsort(members["rid"])
    members = {name: np.ma.getdata(values)[by_rid] for name, values in members.items()}
    things, thing = np.unique(members["thing"], return_inverse=True)
    alive = members["alive"]
    rid, identity = members["rid"][alive], members["ident"][alive].astype(np.int64)
    # If identities do not matter, rows without a label form one more identity.
    identity = identity - identity.min(initial=0)
    noise = duplicates.score_noise * _spread(db)
    wrong = members["verdict"][alive] == VERDICTS.index(LabelVerdict.WRONG_LABEL)
    quality = members["quality"][alive]
    shape = members["pixels"][alive], members["quantisation"][alive], members["bytes"][alive]
    gone = near_duplicates(
        nearness(members["rid"], thing, len(things), pairs),
        thing[alive],
        identity,
        duplicates.near,
        lambda group: original_first(group, wrong, quality, shape, noise),
    )
    found = pa.table({"rid": rid[gone.row], "other": rid[gone.other], "similarity": gone.similarity})
    db.register("resolved", found)
    db.execute(f"INSERT INTO linked SELECT rid, {reason_code(Drop.DUPLICATE_NEAR)}, other, similarity FROM resolved")
    db.unregister("resolved")


def nearness(rid: np.ndarray, thing: np.ndarray, things: int, pairs: Mapping[str, np.ndarray]) -> Nearness:
    """The pairs of the findings, as pairs of things.

    Args:
        rid: int64 (n,), ascending, all rows that a pair names. thing: int64 (n,), the thing that each row shows.
        pairs: columns a, b, similarity, crowd (-1: a plain pair), and hashed: found by perceptual hash.
    """
    a, b = (thing[np.searchsorted(rid, pairs[name])] for name in ("a", "b"))
    similarity, hashed, crowd = (np.ma.getdata(pairs[name]) for name in ("similarity", "hashed", "crowd"))
    plain = crowd < 0
    # A row can be the middle of a crowd of equal hashes and of another crowd of near embeddings: two crowds.
    crowds, number = np.unique(np.stack([crowd, hashed], axis=1)[~plain], axis=0, return_inverse=True)
    number = number.ravel()
    middle = thing[np.searchsorted(rid, crowds[:, 0])]
    in_pair = np.where(pairs["a"][~plain] == crowd[~plain], b[~plain], a[~plain])
    member, of, closeness = _nearest_once(
        np.concatenate([in_pair, middle]),
        np.concatenate([number, np.arange(len(crowds))]),
        np.concatenate([similarity[~plain], np.ones(len(crowds), np.float32)]),
    )
    # Rows with one hash are equal to the last bit, so a row that is near one of them by hash is near all of them.
    hub = np.arange(things)
    by_hash = crowds[:, 1].astype(bool)
    hub[middle[by_hash]] = things + np.flatnonzero(by_hash)
    one, other = (np.where(hashed, hub[side], side)[plain] for side in (a, b))
    low, high, similarity = _nearest_once(np.minimum(one, other), np.maximum(one, other), similarity[plain])
    apart = low != high
    return Nearness(things, low[apart], high[apart], similarity[apart], member, things + of, closeness, len(crowds))


def _nearest_once(a: np.ndarray, b: np.ndarray, similarity: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each pair once, with its greatest similarity."""
    order = np.lexsort((-similarity, b, a))
    a, b, similarity = a[order], b[order], similarity[order]
    new = np.ones(len(a), bool)
    new[1:] = (a[1:] != a[:-1]) | (b[1:] != b[:-1])
    return a[new], b[new], similarity[new]


def _gather_members(db: Any, labelled: str, near: Near) -> None:
    """`members`: own rows that a pair names or that share their bytes with another row; `alive`: still kept.

    `thing` is the first row with the same bytes.
    """
    db.execute(
        "CREATE TABLE members AS "
        f"WITH alive AS (SELECT rid FROM state WHERE reason = 0 AND {labelled} EXCEPT SELECT rid FROM linked), "
        f"paired AS (SELECT a AS rid FROM pairs WHERE {_own_pairs(near)} "
        f"UNION SELECT b FROM pairs WHERE {_own_pairs(near)}), "
        "digests AS (SELECT s0 FROM raw SEMI JOIN paired USING (rid) WHERE s0 IS NOT NULL "
        "UNION SELECT s0 FROM raw SEMI JOIN alive USING (rid) WHERE s0 IS NOT NULL GROUP BY s0 HAVING count(*) > 1), "
        "chosen AS (SELECT * FROM raw WHERE own AND "
        "(s0 IN (SELECT s0 FROM digests) OR (s0 IS NULL AND rid IN (SELECT rid FROM paired)))) "
        f"SELECT c.rid, min(c.rid) OVER (PARTITION BY {_DIGEST}, CASE WHEN s0 IS NULL THEN c.rid END) AS thing, "
        "c.rid IN (SELECT rid FROM alive) AS alive, coalesce(s.ident, -1) AS ident, s.verdict, "
        "coalesce(c.quality, '-inf'::FLOAT) AS quality, coalesce(pixels, 0) AS pixels, "
        "coalesce(quantisation, 'inf'::FLOAT) AS quantisation, coalesce(bytes, 0) AS bytes "
        "FROM chosen c LEFT JOIN state s ON s.rid = c.rid"
    )


def _spread(db: Any) -> float:
    """Half the distance between the 0.16 and the 0.84 quantile of all qualities: the standard deviation of the bulk."""
    quantiles = row(db, "SELECT quantile_disc(quality, [0.16, 0.84]) FROM state")[0]
    return 0.0 if quantiles is None else (quantiles[1] - quantiles[0]) / 2


def _own_pairs(near: Near) -> str:
    return f"b < (SELECT count(*) FROM state) AND {_similar_enough(near)}"


def _similar_enough(near: Near) -> str:
    """Condition on `pairs`. Limits are compared in 32 bits, as the similarities are, so that a limit of 0.95 admits
    0.95."""
    conditions = [f"(kind = '{kind}' AND similarity >= {least!r}::FLOAT)" for kind, least in near.limits().items()]
    return f"({' OR '.join(conditions)})"


def _alive(rid: str) -> str:
    return f"{rid} IN (SELECT rid FROM state WHERE reason = 0 EXCEPT SELECT rid FROM linked)"
