"""What each rule that a policy does not have would take, alone: images, identities, and some of the rows."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

from fiqa_core.curation.decisions.apply_policy import Resources, Tables, check_tables
from fiqa_core.curation.decisions.conditions import load_matches
from fiqa_core.curation.decisions.database import load_findings, load_review, load_rows, open_database, row
from fiqa_core.curation.decisions.groups import load_groups
from fiqa_core.curation.decisions.policy import Policy
from fiqa_core.curation.decisions.rules import decide

# The usual cuts: docs/clean.md says why each is only a beginning.
WORST_SHARE, MOST_FNMR, LEAST_IMAGES = 0.05, 0.1, 3
_FACES = 48

_WORST_FIRST = "s.quality, s.rid"
_MOST_ALIKE_FIRST = "l.similarity DESC NULLS LAST, s.rid"
_MOST_CERTAIN_FIRST = "f.nearest_cosine - f.centre_cosine DESC NULLS LAST, s.rid"


@dataclass(frozen=True)
class FurtherRule:
    """A rule beside those of a policy.

    Attributes:
        name: how the recipe writes it, such as `labels: {drop_wrong: true}`. meaning: what it takes, in words.
        policy: the policy with this rule. order: SQL, which rows are shown first.
    """

    name: str
    meaning: str
    policy: Policy
    order: str = _WORST_FIRST


class Shown(NamedTuple):
    """A row that a rule would take, and the row that it is a copy of, with their similarity, if it is one."""

    rid: int
    other: int | None = None
    similarity: float | None = None


@dataclass(frozen=True)
class Taken:
    """What a rule would take of the rows that the policy keeps.

    Attributes:
        images: rows. identities: with such a row. whole: identities of which nothing would be left.
        rows: some of them, the most telling first.
    """

    name: str
    meaning: str
    images: int
    identities: int
    whole: int
    rows: tuple[Shown, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self) | {"rows": [list(shown) for shown in self.rows]}

    @classmethod
    def of_dict(cls, values: dict[str, Any]) -> "Taken":
        """From what `to_dict` gave."""
        return cls(**(values | {"rows": tuple(Shown(*shown) for shown in values["rows"])}))


@dataclass(frozen=True)
class Kept:
    """What the policy itself keeps and takes: stored bytes of both (null where the table has none), and identities by
    what is left of them."""

    images: int
    bytes: int | None
    dropped_bytes: int | None
    identities_whole: int
    identities_in_part: int
    identities_gone: int


def further_rules(
    policy: Policy, columns: Sequence[str], judged: bool, near_by: str | None, labelled: bool
) -> Iterator[FurtherRule]:
    """The rules to look at: those that the policy lacks and the tables allow.

    Args:
        columns: of the quality table. judged: the embeddings were compared with the labels.
        near_by: how near duplicates were searched for; None: they were not. labelled: there are labels.
    """
    if judged and not policy.labels.drop_wrong:
        changed = replace(policy, labels=replace(policy.labels, drop_wrong=True))
        meaning = "the embedding does not belong to the identity that the label names"
        yield FurtherRule("labels: {drop_wrong: true}", meaning, changed, _MOST_CERTAIN_FIRST)
    if near_by is not None and policy.duplicates.near == "off":
        changed = replace(
            policy, duplicates=replace(policy.duplicates, near="all"), near=replace(policy.near, by=near_by)
        )
        by = "" if near_by == policy.near.by else f"near: {{by: {near_by}}}, "
        name = f"{by}duplicates: {{near: all}}"
        yield FurtherRule(name, "nearly the same picture is in another row", changed, _MOST_ALIKE_FIRST)
    quality = policy.quality
    if not quality.drop_fraction:
        meaning = f"among the worst {WORST_SHARE:.0%} of all"
        yield _of_quality(policy, "drop_fraction", WORST_SHARE, meaning)
    if "predicted_fnmr" in columns and quality.max_predicted_fnmr is None:
        meaning = f"the predicted false non-match rate is above {MOST_FNMR:g}, by the calibration"
        yield _of_quality(policy, "max_predicted_fnmr", MOST_FNMR, meaning)
    if labelled and policy.size.min_per_identity is None and quality.group_budget is None:
        changed = replace(policy, size=replace(policy.size, min_per_identity=LEAST_IMAGES))
        meaning = f"the identity has fewer than {LEAST_IMAGES} images"
        yield FurtherRule(f"size: {{min_per_identity: {LEAST_IMAGES}}}", meaning, changed)


def _of_quality(policy: Policy, key: str, value: float, meaning: str) -> FurtherRule:
    # Its own action counts: with `weight` a rule of quality takes nothing.
    rule: dict[str, Any] = {key: value}
    changed = replace(policy, quality=replace(policy.quality, **rule))
    return FurtherRule(f"quality: {{{key}: {value:g}}}", meaning, changed)


def look_further(
    policy: Policy,
    tables: Tables,
    rules: Callable[[bool], Sequence[FurtherRule]],
    resources: Resources,
) -> tuple[Kept, list[Taken]]:
    """Decide by the policy, then by the policy with each rule, and compare; nothing is written.

    Args:
        rules: makes the rules, told whether there are labels.

    Raises:
        TableError: a table or findings that cannot be used. OSError: a disk that fails.
    """
    conditions = check_tables(policy, tables)
    with open_database(resources.folder, resources.memory_bytes, resources.threads, tables.all_rows) as db:
        load_rows(db, tables.own, tables.against, tables.scale)
        load_groups(db, tables.own, tables.groups)
        load_findings(db, tables.findings, tables.own_rows, tables.all_rows)
        load_review(db, tables.review)
        load_matches(db, policy.quality.drop_where, conditions)
        decide(db, policy)
        db.execute("CREATE TABLE base AS SELECT rid, ident, reason FROM state")
        kept = _kept(db)
        _forget(db)
        labelled = bool(row(db, "SELECT count(ident) FROM base")[0])
        taken = []
        for rule in rules(labelled):
            decide(db, rule.policy)
            taken.append(_taken(db, rule))
            _forget(db)
    return kept, taken


def _forget(db: Any) -> None:
    """Make room for the next decisions."""
    for name in ("state", "linked"):
        db.execute(f"DROP TABLE {name}")
    db.execute("DELETE FROM kept_by_budget")


def _kept(db: Any) -> Kept:
    images, size, dropped = row(
        db,
        "SELECT count(*) FILTER (reason = 0), (sum(bytes) FILTER (reason = 0))::BIGINT, "
        "(sum(bytes) FILTER (reason <> 0))::BIGINT FROM base JOIN raw USING (rid)",
    )
    whole, part, gone = row(
        db,
        "SELECT count(*) FILTER (kept = n), count(*) FILTER (kept BETWEEN 1 AND n - 1), count(*) FILTER (kept = 0) "
        "FROM (SELECT count(*) FILTER (reason = 0) AS kept, count(*) AS n FROM base WHERE ident IS NOT NULL "
        "GROUP BY ident)",
    )
    return Kept(int(images), size, dropped, int(whole), int(part), int(gone))


def _taken(db: Any, rule: FurtherRule) -> Taken:
    lost = "FROM state s JOIN base b USING (rid) WHERE b.reason = 0 AND s.reason <> 0"
    images, identities = row(db, f"SELECT count(*), count(DISTINCT s.ident) {lost}")
    (whole,) = row(
        db,
        "SELECT count(*) FROM (SELECT s.ident FROM state s JOIN base b USING (rid) WHERE s.ident IS NOT NULL "
        "GROUP BY s.ident HAVING bool_or(b.reason = 0) AND NOT bool_or(s.reason = 0))",
    )
    rows = db.execute(
        "SELECT s.rid, l.other, l.similarity FROM state s JOIN base b USING (rid) LEFT JOIN linked l ON l.rid = s.rid "
        "LEFT JOIN findings f ON f.rid = s.rid WHERE b.reason = 0 AND s.reason <> 0 "
        f"ORDER BY {rule.order} LIMIT {_FACES}"
    ).fetchall()
    return Taken(
        rule.name, rule.meaning, int(images), int(identities), int(whole), tuple(Shown(*each) for each in rows)
    )
