"""The rules of a policy, one after the other, on the table `state`: a rule sees only rows that all earlier rules kept.

`place` is a row's rank among the rows of its identity that are neither wrong nor duplicates, 1 = best. Every later
rule drops rows from the end of that order, or the whole identity, so the rows left are always the first ones, and
`place` is computed once. Only if recognised faces are kept among dropped ones is it computed again.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from fiqa_core.curation.decisions.database import DROP, KEEP, RELABELLED, VERDICTS, Findings, scalar
from fiqa_core.curation.decisions.duplicates import link_duplicates
from fiqa_core.curation.decisions.groups import keep_within_budget
from fiqa_core.curation.decisions.policy import ROW_RULES, Policy
from fiqa_core.curation.decisions.reason_codes import MEANINGS, reason_code
from fiqa_core.curation.decisions.recognised import is_recognised
from fiqa_core.curation.decisions.row_rules import float32
from fiqa_core.settings.fields import SettingError
from fiqa_core.wording import counted
from schemas.drops import Drop
from schemas.label_verdicts import LabelVerdict

_KEPT = "reason = 0"
_REVIEWED = f"reviewed & {KEEP} > 0"  # a person decided that it stays
_PLACE = (
    f"CASE WHEN ident IS NOT NULL AND {_KEPT} THEN (row_number() OVER "
    f"(PARTITION BY ident, {_KEPT} ORDER BY quality DESC, rid))::INTEGER END"
)
_STORED = (
    "LEFT JOIN (SELECT rid, pixels, quantisation, bytes, percentile, predicted_fnmr FROM raw) USING (rid) "
    "LEFT JOIN matched USING (rid)"
)
# A share of n rows is rounded down; 0.1 * 30 is 3.0000000000000004, and 0.29 * 100 is 28.999999999999996.
_ROUNDING = 1e-9


class Decided(NamedTuple):
    """explained: the effect of each rule in words (the reason's meaning with this run's numbers). spared: number of
    rows that a rule of quality found and that are kept because they are recognised."""

    explained: Mapping[str, str]
    spared: Mapping[str, int]


def decide(db: Any, policy: Policy) -> Decided:
    """Give every row of `state` its reason (0 = kept); needs `raw`, `labels`, `findings`,
    `pairs` and `matched`.

    Columns of `state`: rid, ident (code of its label), quality, verdict, reason, found (a rule of quality found it),
    lower (scored rows of lower quality), identity_lower, identity_images, place, recognised (null unless the
    policy needs it). `linked` says which row each duplicate is a duplicate of.
    """
    explained = dict(MEANINGS)
    _begin(db, policy)
    link_duplicates(db, policy)
    _keep_reviewed(db)
    _rank(db, policy)
    rules = _Rules(db, policy)
    explained |= rules.rows() | rules.quality() | rules.size()
    return Decided(explained, rules.spared)


def check_needs(policy: Policy, findings: Findings, against: bool) -> None:
    """Refuse a policy that needs findings which are not there.

    Raises:
        SettingError: it names what is missing.
    """
    if policy.needs_labels() and not findings.labels:
        asks = "drops wrong labels (labels: drop_wrong)"
        if not policy.labels.drop_wrong:
            asks = "protects recognised faces (quality: protect_recognised)"
        raise SettingError(f"the policy {asks}, but no findings about labels were given")
    if policy.needs_pairs() and not findings.pairs:
        raise SettingError(
            "the policy drops near duplicates (duplicates: near, overlap: near), but no findings about pairs were given"
        )
    if policy.needs_overlap_pairs() and not against:
        raise SettingError("the policy compares with another dataset (overlap: near); give that as --against")


def _begin(db: Any, policy: Policy) -> None:
    """`state`: own rows with label code, verdict, and the first two reasons."""
    verdict = " ".join(f"WHEN '{name}' THEN {code}" for code, name in enumerate(VERDICTS) if name is not None)
    wrong = f"verdict = {VERDICTS.index(LabelVerdict.WRONG_LABEL)}" if policy.labels.drop_wrong else "false"
    missing = "ident IS NULL" if policy.labels.drop_missing else "false"
    db.execute(
        "CREATE TABLE state AS SELECT * EXCLUDE unread, "
        f"(CASE WHEN reviewed & {DROP} > 0 THEN {reason_code(Drop.REVIEWED_DROP)} "
        f"WHEN unread THEN {reason_code(Drop.NOT_READ)} "
        f"WHEN quality IS NULL THEN {reason_code(Drop.NOT_SCORED)} "
        f"WHEN {_REVIEWED} THEN 0 "
        f"WHEN {missing} THEN {reason_code(Drop.NO_LABEL)} "
        f"WHEN {wrong} THEN {reason_code(Drop.WRONG_LABEL)} ELSE 0 END)::UTINYINT AS reason "
        "FROM (SELECT r.rid, l.code AS ident, r.quality, r.unread, "
        # A label that a person gave is not judged.
        f"(CASE WHEN v.code & {RELABELLED} > 0 THEN 0 "
        f"ELSE CASE f.label_verdict {verdict} ELSE 0 END END)::UTINYINT AS verdict, "
        "coalesce(v.code, 0)::UTINYINT AS reviewed "
        "FROM raw r LEFT JOIN labels l USING (label) LEFT JOIN findings f ON f.rid = r.rid "
        "LEFT JOIN reviewed v ON v.rid = r.rid WHERE r.own)"
    )


def _keep_reviewed(db: Any) -> None:
    """Keep duplicates that a person wants to keep. Of several rows with these very bytes one is enough: the image is
    kept as long as the row in whose favour the others go is."""
    db.execute(
        f"DELETE FROM linked WHERE (other IS NULL OR reason <> {reason_code(Drop.DUPLICATE_EXACT)}) "
        f"AND rid IN (SELECT rid FROM reviewed WHERE code & {KEEP} > 0)"
    )


def _rank(db: Any, policy: Policy) -> None:
    """Drop the linked rows, and rank the others."""
    protect = policy.quality.protect_recognised
    recognised = f"{is_recognised(protect)} AND ident IS NOT NULL" if protect is not None else "NULL::BOOLEAN"
    db.execute(
        "CREATE TABLE ranked AS SELECT s.rid, s.ident, s.quality, s.verdict, s.reviewed, "
        "(CASE WHEN s.reason = 0 THEN coalesce(l.reason, 0) ELSE s.reason END)::UTINYINT AS reason, false AS found, "
        f"{recognised} AS recognised, "
        "CASE WHEN quality IS NOT NULL THEN rank() OVER (ORDER BY quality NULLS LAST) - 1 END AS lower "
        "FROM state s LEFT JOIN linked l ON l.rid = s.rid LEFT JOIN findings f ON f.rid = s.rid"
    )
    _replace(
        db,
        "SELECT *, CASE WHEN ident IS NOT NULL AND quality IS NOT NULL "
        "THEN (rank() OVER (PARTITION BY ident ORDER BY quality NULLS LAST) - 1)::INTEGER END AS identity_lower, "
        "CASE WHEN ident IS NOT NULL THEN (count(quality) OVER (PARTITION BY ident))::INTEGER END AS identity_images "
        "FROM ranked",
    )
    db.execute("DROP TABLE ranked")
    _replace(db, f"SELECT *, {_PLACE} AS place FROM state")


class _Rules:
    """The rules after the duplicates; each method returns the effect of its rules, in words."""

    def __init__(self, db: Any, policy: Policy) -> None:
        self._db = db
        self._policy, self._quality, self._size = policy, policy.quality, policy.size
        least = self._quality.keep_at_least
        self._protected = f"(ident IS NOT NULL AND place <= {least})" if least else "false"
        self._has_reviewed = bool(scalar(db, f"SELECT count(*) FROM reviewed WHERE code & {KEEP} > 0"))
        if self._has_reviewed:
            self._protected = f"({self._protected} OR {_REVIEWED})"
        self.spared: dict[str, int] = {}

    def rows(self) -> dict[str, str]:
        """The rules that look at one row alone (row_rules.py)."""
        explained: dict[str, str] = {}
        for section, key, rule in ROW_RULES:
            value = getattr(getattr(self._policy, section), key)
            if value is not None and value is not False and value != ():
                self._find(rule.code, rule.condition(value), _STORED if rule.stored else "")
                explained[rule.code] = rule.explained.format(value=rule.shown(value))
        return explained

    def quality(self) -> dict[str, str]:
        rule = self._quality
        explained: dict[str, str] = {}
        if rule.drop_fraction:
            rows = self._count(_KEPT)
            condition, cut = self._worst(_share(rule.drop_fraction, rows), _KEPT)
            self._find(Drop.BELOW_GLOBAL_QUANTILE, condition)
            worst = f"{rule.drop_fraction:.6g} of {counted(rows, 'row')}{cut}"
            explained[Drop.BELOW_GLOBAL_QUANTILE] = f"Among the worst {worst}."
        if rule.drop_identity_fraction:
            self._find_in_identities(
                Drop.BELOW_IDENTITY_QUANTILE,
                f"place > n - floor({rule.drop_identity_fraction!r}::DOUBLE * n + {_ROUNDING}::DOUBLE)",
            )
            explained[Drop.BELOW_IDENTITY_QUANTILE] = (
                f"Among the worst {rule.drop_identity_fraction:.6g} of its identity."
            )
        if rule.group_budget is not None:
            keep_within_budget(self._db, rule.group_budget)
        return explained

    def size(self) -> dict[str, str]:
        rule = self._size
        explained: dict[str, str] = {}
        if rule.best_per_identity:
            self._drop(Drop.OVER_IDENTITY_BEST, f"place > {rule.best_per_identity}")
            explained[Drop.OVER_IDENTITY_BEST] = f"Not among the best {rule.best_per_identity:,} of its identity."
        if rule.max_identities:
            self._cap(rule.max_identities)
            explained[Drop.OVER_IDENTITY_CAP] = f"Its identity is not among the {rule.max_identities:,} that are kept."
        if rule.target:
            explained[Drop.OVER_TARGET_SIZE] = self._cut_to(rule.target)
        if rule.min_per_identity:
            self._drop(
                Drop.IDENTITY_TOO_SMALL, f"n < {rule.min_per_identity}", f"LEFT JOIN ({_identities()}) USING (ident)"
            )
            least = counted(rule.min_per_identity, "image")
            explained[Drop.IDENTITY_TOO_SMALL] = f"Its identity was left with fewer than {least}."
        return explained

    def _find(self, drop: str, condition: str, join: str = "") -> None:
        condition = f"({condition}) AND NOT {self._protected}"
        protects = self._quality.protect_recognised is not None
        if protects:
            found = f"SELECT count(*) FROM state {join} WHERE {_KEPT} AND {condition} AND recognised"
            self.spared[drop] = int(scalar(self._db, found))
            condition += " AND NOT recognised"
        if self._quality.action == "drop":
            self._drop(drop, condition, join)
            if protects:
                _replace(self._db, f"SELECT state.* REPLACE ({_PLACE} AS place) FROM state")
        else:
            found = f"found OR ({_KEPT} AND coalesce({condition}, false))"
            _replace(self._db, f"SELECT state.* REPLACE ({found} AS found) FROM state {join}")

    def _find_in_identities(self, drop: str, condition: str) -> None:
        self._find(drop, condition, f"LEFT JOIN ({_identities()}) USING (ident)")

    def _drop(self, drop: str, condition: str, join: str = "") -> None:
        if self._has_reviewed:
            condition = f"({condition}) AND NOT ({_REVIEWED})"
        reason = f"CASE WHEN {_KEPT} AND ({condition}) THEN {reason_code(drop)} ELSE reason END"
        _replace(self._db, f"SELECT state.* REPLACE (({reason})::UTINYINT AS reason) FROM state {join}")
        if self._has_reviewed:  # the rows that stay are no longer the first ones of their identity
            _replace(self._db, f"SELECT state.* REPLACE ({_PLACE} AS place) FROM state")

    def _cap(self, most: int) -> None:
        # Summed as whole numbers: a sum of floats would depend on the order in which threads add.
        steps = exact_steps(self._db)
        mean = f"sum((quality::DOUBLE * {steps!r}::DOUBLE)::HUGEINT)::DOUBLE / count(*)"
        kept = (
            f"SELECT ident, true AS stays FROM ({_identities(f', {mean} AS mean')}) ORDER BY n DESC, mean DESC, ident"
        )
        self._drop(
            Drop.OVER_IDENTITY_CAP,
            "ident IS NOT NULL AND stays IS NULL",
            f"LEFT JOIN ({kept} LIMIT {most}) USING (ident)",
        )

    def _cut_to(self, target: int) -> str:
        rows, protected = self._count(_KEPT), self._count(f"{_KEPT} AND {self._protected}")
        open_rows = f"{_KEPT} AND NOT {self._protected}"
        surplus = min(max(0, rows - target), rows - protected)
        condition, cut = self._worst(surplus, open_rows)
        self._drop(Drop.OVER_TARGET_SIZE, f"({condition}) AND NOT {self._protected}")
        return f"The dataset was cut from {rows:,} to {counted(rows - surplus, 'row')}, worst images first{cut}."

    def _worst(self, rows: int, among: str) -> tuple[str, str]:
        """Condition that holds for exactly the `rows` worst rows, and the quality where it cuts, in words."""
        if not rows:
            return "false", ""
        ordered = f"FROM state WHERE {among} ORDER BY quality LIMIT 1 OFFSET ?"
        cut = scalar(self._db, f"SELECT quality {ordered}", rows - 1)
        below = self._count(f"{among} AND quality < {float32(cut)}")
        last = scalar(
            self._db,
            f"SELECT rid FROM state WHERE {among} AND quality = {float32(cut)} ORDER BY rid DESC LIMIT 1 OFFSET ?",
            rows - below - 1,
        )
        equal = f"quality = {float32(cut)} AND rid >= {last}"
        return f"quality < {float32(cut)} OR ({equal})", f" (quality up to {cut:.6g})"

    def _count(self, condition: str) -> int:
        return int(scalar(self._db, f"SELECT count(*) FROM state WHERE {condition}"))


def exact_steps(db: Any) -> float:
    """A power of two that scales qualities to whole numbers (2^-40 of the largest is 1), so that their sums are
    exact."""
    largest = scalar(db, "SELECT max(abs(quality::DOUBLE)) FROM state")
    return math.ldexp(1.0, 40 - math.frexp(largest or 1.0)[1])


def _identities(more: str = "") -> str:
    return f"SELECT ident, count(*) AS n{more} FROM state WHERE {_KEPT} AND ident IS NOT NULL GROUP BY ident"


def _share(fraction: float, rows: int) -> int:
    return math.floor(fraction * rows + _ROUNDING)


def _replace(db: Any, query: str) -> None:
    db.execute(f"CREATE TABLE next AS {query}")
    db.execute("DROP TABLE state")
    db.execute("ALTER TABLE next RENAME TO state")
