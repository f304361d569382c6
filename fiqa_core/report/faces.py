"""The faces of a report as data for the page, and why each stands where it stands."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fiqa_core.report.elsewhere import OVERLAPS
from fiqa_core.report.not_dropped import Link
from fiqa_core.report.pictures import Picture
from fiqa_core.report.threshold import text_of
from schemas.drops import Drop
from schemas.label_verdicts import LabelVerdict

# A longer label is shown shortened and cannot be chosen with one click.
_MOST_NAME = 300


@dataclass(frozen=True)
class Beside:
    """A row that a face is compared with, and what it is: `stays`, `same identity`, `looks like`, ..."""

    rid: int
    role: str


@dataclass(frozen=True)
class Item:
    """A face, why it stands here in words, the rows beside it, the label it may belong to ("" if none is known), and
    what becomes of it ("" where nothing is beside it)."""

    rid: int
    why: str
    beside: tuple[Beside, ...] = ()
    looks_like: str = ""
    role: str = ""

    def to_dict(self) -> dict[str, Any]:
        """For the page."""
        beside = [{"rid": other.rid, "role": other.role} for other in self.beside]
        return {"rid": self.rid, "why": self.why, "beside": beside, "looksLike": self.looks_like, "role": self.role}

    @property
    def rids(self) -> tuple[int, ...]:
        """Every row that is shown."""
        return (self.rid, *(other.rid for other in self.beside))


def item_of(
    rid: int,
    row: Mapping[str, Any],
    best: Mapping[str, int],
    places: Mapping[tuple[str, int], int],
    elsewhere: Mapping[tuple[str, int], int],
) -> Item:
    """A row with the rows that explain why it is dropped, or looks wrong.

    Args:
        best: row of best quality by label. places: own rows by shard and index; elsewhere: those of other datasets.
    """
    found = _item_of(rid, row, best, places, elsewhere)
    if row.get("label_verdict") == LabelVerdict.WRONG_LABEL and not found.looks_like:
        wrong = _wrong(rid, row, best)  # dropped for another reason, and the label looks wrong too
        also = f"{found.why}; the label looks wrong too: {wrong.why}" if found.why else wrong.why
        found = replace(found, why=also, looks_like=wrong.looks_like)
    return replace(found, role="dropped" if row.get("reason") else "kept") if found.beside else found


def link_item(link: Link) -> Item:
    """A kept row that a further rule would drop, beside the one that would stay."""
    why = "the same bytes" if link.similarity >= 1 else f"similarity {_3(link.similarity)}"
    return Item(link.rid, why, (Beside(link.other, "would stay"),), role="would go")


def _item_of(
    rid: int,
    row: Mapping[str, Any],
    best: Mapping[str, int],
    places: Mapping[tuple[str, int], int],
    elsewhere: Mapping[tuple[str, int], int],
) -> Item:
    reason = row.get("reason")
    if reason in (None, Drop.WRONG_LABEL) and row.get("label_verdict") == LabelVerdict.WRONG_LABEL:
        return _wrong(rid, row, best)
    if row.get("duplicate_of_shard") is not None:
        overlaps = reason in OVERLAPS
        other = (elsewhere if overlaps else places).get((row["duplicate_of_shard"], row["duplicate_of_index"]))
        alike = row.get("duplicate_similarity")
        same = "the same bytes" if reason in (Drop.DUPLICATE_EXACT, Drop.OVERLAP_EXACT) else f"similarity {_3(alike)}"
        where = f"{row['duplicate_of_shard']}, index {row['duplicate_of_index']}"
        beside = (Beside(other, "in the other dataset" if overlaps else "stays"),) if other is not None else ()
        return Item(rid, same if beside and not overlaps else f"{same}; the other one: {where}", beside)
    if row.get("quality") is None:
        return Item(rid, str(row.get("message") or row.get("status") or ""))
    return Item(rid, _rank(row))


def _wrong(rid: int, row: Mapping[str, Any], best: Mapping[str, int]) -> Item:
    own: Any = row.get("label")
    other: Any = row.get("nearest_label")
    why = f"cosine {_3(row.get('centre_cosine'))} to its identity"
    beside = []
    if own in best:
        beside.append(Beside(best[own], "same identity"))
    if other is not None:
        why += f", {_3(row.get('nearest_cosine'))} to the nearest other"
        if other in best:
            beside.append(Beside(best[other], "looks like"))
    return Item(rid, why, tuple(beside), str(other) if other is not None and len(str(other)) <= _MOST_NAME else "")


def _rank(row: Mapping[str, Any]) -> str:
    """How many images are worse, where the decisions say that."""
    lower, in_identity = row.get("quality_quantile"), row.get("identity_quantile")
    if lower is None:
        return ""
    own = "" if in_identity is None else f", of its identity {in_identity:.1%}"
    return f"{lower:.1%} of all images are worse{own}"


def _3(value: Any) -> str:
    return "?" if value is None else f"{value:.3f}"


def face_data(
    rows: Mapping[int, Mapping[str, Any]],
    found: Iterable[tuple[int, Picture]],
    explain: Callable[[Mapping[str, Any]], str],
    most_bytes: int,
) -> dict[str, dict[str, Any]]:
    """By rid, what the page shows of a face; names as they are, which the page shows as text.

    Args:
        found: rids with their pictures, the most important first; taken as long as all faces together have no more
            than so many bytes of JSON. explain: why a face is poor, in a sentence ("": nothing to say).
    """
    faces: dict[str, dict[str, Any]] = {}
    used = 0
    for rid, picture in found:
        face = _face(rows[rid], picture, explain(rows[rid]))
        used += len(json.dumps(face)) + len(str(rid))
        if used > most_bytes:
            break
        faces[str(rid)] = face
    return faces


def _face(row: Mapping[str, Any], picture: Picture, sentence: str) -> dict[str, Any]:
    quality: Any = row.get("quality")
    digest = None if row.get("elsewhere") else row.get("sha256")
    scored = row.get("status") == "scored" and quality is not None
    found: dict[str, Any] = {
        "key": _name(row.get("key")),
        "shard": _name(row.get("shard")),
        "index": row.get("index"),
        "label": _name(row.get("label")),
        "quality": float(text_of(quality)) if scored else None,
        "status": row.get("status"),
        "reason": row.get("reason"),
        "sha256": digest.hex() if isinstance(digest, bytes) and len(digest) == 32 else "",
        "sentence": sentence,
        "image": picture.data,
        "kind": picture.kind,
        "note": picture.note,
    }
    if row.get("reviewed"):
        found |= {"reviewed": row["reviewed"], "before": _name(row.get("quality_label"))}
    return {name: value for name, value in found.items() if value not in (None, "")}


def _name(value: Any) -> str | None:
    return None if value is None else str(value)[:_MOST_NAME]


def in_turn(groups: Sequence[Sequence[int]]) -> list[int]:
    """The first of every group, then the second of every group, and so on: what matters most comes first."""
    longest = max((len(group) for group in groups), default=0)
    return [group[place] for place in range(longest) for group in groups if place < len(group)]
