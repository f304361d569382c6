"""The table of identities, and labels that look like two people or like the same person as another label."""

from dataclasses import dataclass
from typing import Any

from fiqa_core import storage
from fiqa_core.curation.decisions.database import scalar
from fiqa_core.report.settings import MOST_IDENTITIES
from fiqa_core.tables.row_batches import checked, damage_named

_SHOWN = 40
_FACES = 4
# Where not all identities fit into the file, an equal share of it goes to the first ones in each of these orders.
_ORDERS = ("mean", "worst", "images DESC", "images", "spread DESC", "kept")


@dataclass(frozen=True)
class Identity:
    """One row of the table: images = scored rows, kept = those that stay; mean, worst, best and spread (standard
    deviation) of their quality."""

    label: str
    images: int
    kept: int
    mean: float
    worst: float
    best: float
    spread: float
    best_rid: int
    worst_rid: int


@dataclass(frozen=True)
class Split:
    """A label that looks like two people: sizes of both groups, the cosine between them, faces (rids) of each."""

    label: str
    sizes: tuple[int, ...]
    cosine: float
    larger: tuple[int, ...]
    smaller: tuple[int, ...]


@dataclass(frozen=True)
class Merge:
    """Two labels that look like one person: the cosine between their centres, and faces (rids) of each."""

    label: str
    other: str
    cosine: float
    faces: tuple[int, ...]
    other_faces: tuple[int, ...]


def identities(db: Any) -> tuple[list[Identity], int]:
    """Identities for the table in order of their mean quality, and how many there are in all."""
    total = int(scalar(db, "SELECT count(*) FROM identities WHERE images > 0"))
    source = "SELECT * FROM identities WHERE images > 0"
    if total > MOST_IDENTITIES:
        each = MOST_IDENTITIES // len(_ORDERS)
        parts = (f"(SELECT label FROM identities WHERE images > 0 ORDER BY {o}, label LIMIT {each})" for o in _ORDERS)
        source += f" AND label IN ({' UNION '.join(parts)})"
    columns = "label, images, kept, mean, worst, best, spread, best_rid, worst_rid"
    found = db.execute(f"SELECT {columns} FROM ({source}) ORDER BY mean, label").fetchall()
    return [Identity(*values) for values in found], total


def load_findings(db: Any, url: str) -> None:
    """`found`: what the embeddings say of identities; empty with "" for the URL."""
    db.execute(
        "CREATE TABLE found (label VARCHAR, is_split BOOLEAN, split_sizes BIGINT[], split_cosine FLOAT, "
        "split_minority BIGINT[], merge_with VARCHAR, merge_cosine FLOAT)"
    )
    if not url:
        return
    names = ["label", "is_split", "split_sizes", "split_cosine", "split_minority", "merge_with", "merge_cosine"]
    with damage_named(url), storage.open_read(url) as stream:
        for batch in checked(stream).iter_batches(columns=names):
            db.register("incoming", batch)
            chosen = ", ".join(names)
            db.execute(f"INSERT INTO found SELECT {chosen} FROM incoming WHERE is_split OR merge_with IS NOT NULL")
            db.unregister("incoming")


def split_and_merged(db: Any) -> tuple[int, int]:
    """Number of labels that look like two people, and of pairs of labels that look like one."""
    return (
        int(scalar(db, "SELECT count(*) FROM found WHERE is_split")),
        int(scalar(db, f"SELECT count(*) FROM ({_PAIRS})")),
    )


def splits(db: Any) -> list[Split]:
    """Labels that look like two people, the least alike first."""
    query = (
        "SELECT label, split_sizes, split_cosine, split_minority FROM found WHERE is_split "
        f"ORDER BY split_cosine, label LIMIT {_SHOWN}"
    )
    found = []
    for label, sizes, cosine, minority in db.execute(query).fetchall():
        smaller = _best(db, "label = $label AND list_contains($minority, rid)", label, minority or [])
        larger = _best(db, "label = $label AND NOT list_contains($minority, rid)", label, minority or [])
        found.append(Split(label, tuple(sizes or ()), float(cosine or 0), larger, smaller))
    return found


# A pair is named by both of its labels where each is the nearest to the other.
_PAIRS = (
    "SELECT least(label, merge_with) AS a, greatest(label, merge_with) AS b, max(merge_cosine) AS cosine FROM found "
    "WHERE merge_with IS NOT NULL GROUP BY a, b"
)


def merges(db: Any) -> list[Merge]:
    """Pairs of labels that look like one person, the most alike first."""
    pairs = db.execute(f"SELECT * FROM ({_PAIRS}) ORDER BY cosine DESC, a, b LIMIT {_SHOWN}").fetchall()
    return [
        Merge(a, b, float(cosine or 0), _best(db, "label = $label", a), _best(db, "label = $label", b))
        for a, b, cosine in pairs
    ]


def _best(db: Any, condition: str, label: str, minority: list[int] | None = None) -> tuple[int, ...]:
    given: dict[str, Any] = {"label": label} | ({"minority": minority} if minority is not None else {})
    query = f"SELECT rid FROM rows WHERE quality IS NOT NULL AND {condition} ORDER BY quality DESC, rid LIMIT {_FACES}"
    return tuple(rid for (rid,) in db.execute(query, given).fetchall())
