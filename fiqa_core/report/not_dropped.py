"""What was found and is not dropped, and what each further rule would take of the images that the decisions keep.

Near duplicates are counted by the code that the filter itself uses, on the kept rows, so that a number here is what the
rule takes when it is switched on.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fiqa_core.curation.decisions.database import VERDICTS, scalar
from fiqa_core.curation.decisions.duplicates import link_near_duplicates
from fiqa_core.curation.decisions.policy import Duplicates, Near
from fiqa_core.settings.fields import SettingError
from schemas.label_verdicts import LabelVerdict

SUSPECTS, FOUND_EXACT, FOUND_NEAR = "suspects", "found_exact", "found_near"  # in place of a reason
# Code, title, heading and meaning of what was found.
_NAMED = {
    SUSPECTS: (
        SUSPECTS,
        "labels that look wrong",
        "Not removed, but the label looks wrong",
        "The embedding does not belong to the identity that the label names.",
    ),
    FOUND_EXACT: (
        FOUND_EXACT,
        "the same bytes as another kept image",
        "Not removed, but the same bytes are kept twice",
        "Each stands beside the image that would stay.",
    ),
    FOUND_NEAR: (
        FOUND_NEAR,
        "nearly the same picture as another kept image",
        "Not removed, but nearly the same picture is kept twice",
        "Each stands beside the image that would stay; the most alike come first.",
    ),
}
_KEPT = "reason IS NULL AND quality IS NOT NULL"
_BEST = "(odd IS NOT NULL, -quality, rid)"  # the order in which the filter keeps one of several


@dataclass(frozen=True)
class Link:
    """A kept row that a rule would drop because of another kept row, which would stay."""

    rid: int
    other: int
    similarity: float


@dataclass(frozen=True)
class Further:
    """One further rule.

    title, heading, meaning: of what was found, in words. images: what the rule would take. known: false where nobody
    has looked; then `hint` says how to.
    """

    code: str
    title: str
    heading: str
    meaning: str
    option: str
    images: int
    known: bool = True
    hint: str = ""


@dataclass(frozen=True)
class Found:
    """Further rules in the order in which they are evaluated, and some of the pairs of the rules about duplicates."""

    rules: tuple[Further, ...]
    links: Mapping[str, tuple[Link, ...]]

    @property
    def images(self) -> int:
        """Sum of what the rules would take; more than they take together where they overlap."""
        return sum(rule.images for rule in self.rules)


def not_dropped(db: Any, policy: Mapping[str, Any], judged: bool, most: int, suspects: int) -> Found:
    """Wrong labels, exact and near duplicates among the kept rows.

    Args:
        policy: of the decisions, {} without. judged: whether embeddings were compared with labels. most: links a rule.
        suspects: kept rows whose label is judged wrong. `pairs` is there if near duplicates were searched for.
    """
    exact, exact_links = _exact(db, most)
    searched = bool(scalar(db, "SELECT count(*) FROM duckdb_tables() WHERE table_name = 'pairs'"))
    near, near_links = _near(db, policy, most) if searched else (0, ())
    rules = (
        Further(
            *_NAMED[SUSPECTS],
            "--drop-wrong-labels",
            suspects,
            judged,
            "" if judged else "not looked for: give fiqa filter the --embeddings",
        ),
        Further(*_NAMED[FOUND_EXACT], "--exact-duplicates all", exact),
        Further(
            *_NAMED[FOUND_NEAR],
            "--near-duplicates all",
            near,
            searched,
            "" if searched else "not looked for: the policy does not ask for them; or give their folder by --findings",
        ),
    )
    return Found(rules, {FOUND_EXACT: exact_links, FOUND_NEAR: near_links})


def _exact(db: Any, most: int) -> tuple[int, tuple[Link, ...]]:
    """Kept rows with the bytes of another kept row; one of each group stays."""
    # In two steps: only plain counts of millions of digests go to disk where memory is short.
    db.execute(
        f"CREATE TABLE twice AS SELECT s0, s1 FROM rows WHERE s0 IS NOT NULL AND {_KEPT} "
        "GROUP BY s0, s1 HAVING count(*) > 1"
    )
    db.execute(
        f"CREATE TABLE same AS SELECT s0, s1, arg_min(rid, {_BEST}) AS best, count(*) AS n "
        f"FROM rows SEMI JOIN twice USING (s0, s1) WHERE {_KEPT} GROUP BY s0, s1"
    )
    images = int(scalar(db, "SELECT coalesce(sum(n - 1), 0) FROM same"))
    links = db.execute(
        f"SELECT rid, best FROM rows JOIN same USING (s0, s1) WHERE {_KEPT} AND rid <> best "
        f"ORDER BY hash(rid), rid LIMIT {most}"
    ).fetchall()
    db.execute("DROP TABLE same; DROP TABLE twice")
    return images, tuple(Link(rid, other, 1.0) for rid, other in links)


def _near(db: Any, policy: Mapping[str, Any], most: int) -> tuple[int, tuple[Link, ...]]:
    """What the filter's own rule takes of the kept rows."""
    wrong = VERDICTS.index(LabelVerdict.WRONG_LABEL)
    db.execute(
        "CREATE TABLE codes AS SELECT label, (row_number() OVER (ORDER BY label) - 1)::INTEGER AS code FROM identities"
    )
    # The rows as the filter has them: half a digest is enough to tell images apart.
    db.execute(
        "CREATE VIEW raw AS SELECT rid, true AS own, s0, s1, 0::UBIGINT AS s2, 0::UBIGINT AS s3, quality, pixels, "
        "quantisation, bytes FROM rows"
    )
    db.execute(
        "CREATE TABLE state AS SELECT rid, code AS ident, quality, "
        f"(CASE WHEN odd IS NULL THEN 0 ELSE {wrong} END)::UTINYINT AS verdict, "
        f"(CASE WHEN {_KEPT} THEN 0 ELSE 1 END)::UTINYINT AS reason FROM rows LEFT JOIN codes USING (label)"
    )
    db.execute("CREATE TABLE linked (rid BIGINT, reason UTINYINT, other BIGINT, similarity FLOAT)")
    duplicates, limits = _settings(policy)
    link_near_duplicates(db, duplicates, limits)
    images = int(scalar(db, "SELECT count(*) FROM linked"))
    links = db.execute(
        f"SELECT rid, other, similarity FROM linked ORDER BY similarity DESC, hash(rid), rid LIMIT {most}"
    ).fetchall()
    db.execute("DROP VIEW raw; DROP TABLE state; DROP TABLE codes; DROP TABLE linked")
    return images, tuple(Link(*link) for link in links)


def _settings(policy: Mapping[str, Any]) -> tuple[Duplicates, Near]:
    """How the run defines what is nearly the same; the defaults where its policy is of another version."""
    try:
        noise = float(policy.get("duplicates", {}).get("score_noise", Duplicates().score_noise))
        return Duplicates(near="all", score_noise=noise), Near(**policy.get("near", {}))
    except (TypeError, ValueError, SettingError):
        return Duplicates(near="all"), Near()
