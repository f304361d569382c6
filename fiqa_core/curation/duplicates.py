"""Rows that show the same picture: by stored bytes in SQL, by pairs of nearly the same picture greedily.

`linked` (rid, reason, other, similarity) gathers the rows that go because of another one; `other` is that row, null
where a whole group goes.
"""

from typing import Any

import numpy as np
import pyarrow as pa

from fiqa_core.curation.database import VERDICTS, reason_code
from fiqa_core.curation.policy import Duplicates, Near, Policy
from schemas.drops import Drop
from schemas.label_verdicts import LabelVerdict

# Which of several rows is the best: a label that is believed, then quality, then the first row.
BEST_FIRST = f"verdict = {VERDICTS.index(LabelVerdict.WRONG_LABEL)}, quality DESC, rid"
_DIGEST = "s0, s1, s2, s3"
_FEW_EDGES = 20_000


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
        _duplicates_near(db, policy.duplicates.near, policy.near)


def resolve(a: np.ndarray, b: np.ndarray, rank: np.ndarray) -> np.ndarray:
    """Which rows go when pairs of them show nearly the same picture.

    From the best row down: a row stays unless it is itself paired with a row that stays (so no chain of pairs takes
    a row away that is like none of those that stay).

    Args:
        a, b: int64 (pairs,), rows from 0; each pair's two rows. rank: int64 (rows,), 0 = best, no two the same.

    Returns:
        bool (rows,): True where the row goes.
    """
    better = np.where(rank[a] < rank[b], a, b)
    worse = np.where(rank[a] < rank[b], b, a)
    gone = np.zeros(len(rank), bool)
    while len(better) > _FEW_EDGES:
        # Who is the worse of no pair that is left, stays; whoever is paired with it, goes.
        stays = np.ones(len(rank), bool)
        stays[worse] = False
        gone[worse[stays[better]]] = True
        left = ~(gone[better] | gone[worse])
        if left.sum() > 0.9 * len(left):
            better, worse = better[left], worse[left]
            break
        better, worse = better[left], worse[left]
    # Long chains would take as many rounds as they have links: the rest in order, one pair at a time.
    order = np.argsort(rank[better], kind="stable")
    lost = set()
    for good, bad in zip(better[order].tolist(), worse[order].tolist(), strict=True):
        if good not in lost:
            lost.add(bad)
    gone[np.fromiter(lost, np.int64, len(lost))] = True
    return gone


def _gather_same_bytes(db: Any) -> None:
    """`same`: kept own rows and rows of --against whose digest is not theirs alone."""
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
    """A pair names one row of each group of the same bytes; it holds for all of them."""
    db.execute(
        f"INSERT INTO linked SELECT s.rid, {reason_code(Drop.OVERLAP_NEAR)}, arg_min(b, (-similarity, b)), "
        "max(similarity) FROM pairs JOIN raw x ON x.rid = a JOIN raw s ON s.own AND "
        f"(s.rid = x.rid OR ({_same_digest('s', 'x')})) "
        f"WHERE b >= (SELECT count(*) FROM state) AND {_similar_enough(near)} AND {_alive('s.rid')} GROUP BY s.rid"
    )


def _duplicates_exact(db: Any, duplicates: Duplicates) -> None:
    """One row for each that goes, by scope (`within`: labels equal; `across`: labels differ; `all`: both)."""
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


def _duplicates_near(db: Any, scope: str, near: Near) -> None:
    """Rows of the same bytes (and, unless identities do not count, of the same identity) are one node.

    A pair names one row of each group of the same bytes and holds for all of them. Nodes are resolved from the best
    down; of a node that goes all rows go, of one that stays all but the best (which scope `across` does not mind).
    """
    _make_nodes(db, scope)
    relation = {"within": "x.ident = y.ident", "across": "x.ident <> y.ident", "all": "true"}[scope]
    named = (
        "SELECT x.node AS x, y.node AS y, similarity FROM pairs JOIN raw p ON p.rid = a JOIN raw q ON q.rid = b "
        f"JOIN nodes x ON {_same_digest('x', 'p', 'a')} JOIN nodes y ON {_same_digest('y', 'q', 'b')} "
        f"WHERE {_similar_enough(near)} AND x.node <> y.node AND {relation}"
    )
    equal = f"SELECT x.node, y.node, 1::FLOAT FROM nodes x JOIN nodes y ON {_same_digest('x', 'y')} WHERE {relation}"
    both = f"{named} UNION ALL {equal}" if scope == "across" else named
    db.execute(
        "CREATE TABLE near AS SELECT least(x, y) AS a, greatest(x, y) AS b, max(similarity) AS similarity "
        f"FROM ({both}) GROUP BY least(x, y), greatest(x, y)"
    )
    _resolve_nodes(db)
    goes = (
        "SELECT rid, other, similarity FROM nodes JOIN "
        "(SELECT lost.rid AS node, arg_min(kept.rid, (-similarity, kept.place)) AS other, "
        "max(similarity) AS similarity "
        "FROM (SELECT a, b, similarity FROM near UNION ALL SELECT b, a, similarity FROM near) n "
        "JOIN judged lost ON lost.rid = n.a AND lost.gone JOIN judged kept ON kept.rid = n.b AND NOT kept.gone "
        "GROUP BY lost.rid) USING (node)"
    )
    if scope != "across":
        gone = "SELECT rid FROM judged WHERE gone"
        goes += f" UNION ALL SELECT rid, node, 1 FROM nodes WHERE rid <> node AND node NOT IN ({gone})"
    db.execute(f"INSERT INTO linked SELECT rid, {reason_code(Drop.DUPLICATE_NEAR)}, other, similarity FROM ({goes})")
    for table in ("judged", "near", "nodes"):
        db.execute(f"DROP TABLE {table}")


def _make_nodes(db: Any, scope: str) -> None:
    """`nodes`: kept rows that a pair or the same bytes could take away, with the best row of their node."""
    group = "s0, s1, s2, s3, CASE WHEN s0 IS NULL THEN r.rid END" + ("" if scope == "all" else ", ident")
    labelled = "true" if scope == "all" else "ident IS NOT NULL"
    db.execute(
        "CREATE TABLE nodes AS "
        f"WITH alive AS (SELECT r.*, s.ident, s.verdict FROM raw r JOIN state s ON s.rid = r.rid "
        f"WHERE {_alive('r.rid')} AND {labelled}), "
        "paired AS (SELECT a AS rid FROM pairs UNION SELECT b FROM pairs), "
        "digests AS (SELECT s0 FROM raw SEMI JOIN paired USING (rid) WHERE s0 IS NOT NULL "
        "UNION SELECT s0 FROM alive WHERE s0 IS NOT NULL GROUP BY s0 HAVING count(*) > 1) "
        f"SELECT rid, ident, quality, verdict, s0, s1, s2, s3, "
        f"first_value(rid) OVER (PARTITION BY {group.replace('r.rid', 'rid')} ORDER BY {BEST_FIRST}) AS node "
        "FROM alive WHERE s0 IN (SELECT s0 FROM digests) OR (s0 IS NULL AND rid IN (SELECT rid FROM paired))"
    )


def _resolve_nodes(db: Any) -> None:
    """`judged` (rid of the node, place, gone) of all nodes that are in a pair, from `nodes` and `near`."""
    rows = db.execute(
        f"SELECT rid FROM nodes WHERE rid IN (SELECT a FROM near UNION SELECT b FROM near) ORDER BY {BEST_FIRST}"
    ).fetchnumpy()["rid"]
    pairs = db.execute("SELECT a, b FROM near").fetchnumpy()
    by_rid = np.argsort(rows)
    a, b = (by_rid[np.searchsorted(rows, pairs[name], sorter=by_rid)] for name in ("a", "b"))
    gone = resolve(a, b, np.arange(len(rows)))
    db.register("resolved", pa.table({"rid": rows, "place": np.arange(len(rows)), "gone": gone}))
    db.execute("CREATE TABLE judged AS SELECT * FROM resolved")
    db.unregister("resolved")


def _same_digest(one: str, other: str, rid: str = "") -> str:
    """Condition that two rows hold the same bytes; where the digest is not known, that they are one (`rid`)."""
    words = " AND ".join(f"{one}.{word} = {other}.{word}" for word in _DIGEST.split(", "))
    return f"(({words}) OR ({other}.s0 IS NULL AND {one}.rid = {rid}))" if rid else words


def _similar_enough(near: Near) -> str:
    """Condition on `pairs`. A 32-bit number is compared as one, so that a limit of 0.95 admits 0.95."""
    told = [f"(kind = '{kind}' AND similarity >= {least!r}::FLOAT)" for kind, least in near.limits().items()]
    return f"({' OR '.join(told)})"


def _alive(rid: str) -> str:
    return f"{rid} IN (SELECT rid FROM state WHERE reason = 0 EXCEPT SELECT rid FROM linked)"
