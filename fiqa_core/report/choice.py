"""Which rows a report shows, by section, and in which order they are taken until the file is full."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fiqa_core.curation.recipe.further_rules import Taken
from fiqa_core.report import identities, samples
from fiqa_core.report.chosen import chosen_rows, rows_at
from fiqa_core.report.decided import Decided
from fiqa_core.report.elsewhere import OVERLAPS, rows_elsewhere
from fiqa_core.report.evaluation_tables import POOR_FOR_ALL, POOR_FOR_ONE, PoorImage
from fiqa_core.report.faces import Item, in_turn, item_of, link_item
from fiqa_core.report.further import further_items, rids_of
from fiqa_core.report.named_rows import rows_named
from fiqa_core.report.not_dropped import SUSPECTS, Found
from fiqa_core.tables.quality_files import TableFile
from schemas.label_verdicts import LabelVerdict


@dataclass(frozen=True)
class Choice:
    """The rows that are shown, by section. found: numbers of splits and of merges in all."""

    ranked: samples.Ranked
    dropped: dict[str, list[int]]
    suspects: tuple[list[int], int]
    reviewed: list[int]
    splits: list[identities.Split]
    merges: list[identities.Merge]
    found: tuple[int, int]

    def groups(self) -> list[Sequence[int]]:
        """Rows that stand alone, by section."""
        groups: list[Sequence[int]] = [self.reviewed]
        groups += [(*split.larger, *split.smaller) for split in self.splits]
        groups += [(*merge.faces, *merge.other_faces) for merge in self.merges]
        return [*groups, *(tenth.rids for tenth in self.ranked.tenths)]


@dataclass(frozen=True)
class Shown:
    """rows: all that the files know about the rows, by rid. items: faces with those beside them, by reason or finding.
    order: rids, the most important first. unnamed: images of the evaluation that no row has."""

    rows: Mapping[int, Mapping[str, Any]]
    items: Mapping[str, Sequence[Item]]
    order: Sequence[int]
    unnamed: int = 0


def choose(db: Any, reasons: Sequence[str], faces: int, own: float | None) -> Choice:
    """Rows for each section; `faces`: of a reason at most. own: the run's threshold."""
    return Choice(
        samples.ranked(db, faces, own),
        {code: samples.of_reason(db, code, faces) for code in reasons},
        samples.of_suspects(db, faces),
        samples.of_reviewed(db),
        identities.splits(db),
        identities.merges(db),
        identities.split_and_merged(db),
    )


def shown_rows(
    db: Any,
    parts: Sequence[TableFile],
    decided: Decided | None,
    choice: Choice,
    found: Found,
    taken: Sequence[Taken],
    poor: Sequence[PoorImage],
    faces: int,
    scale: str,
) -> Shown:
    """The chosen rows with the rows beside them.

    Args:
        found: what is not dropped. taken: by the rules that `fiqa clean` looked at. poor: images of an evaluation.
    """
    named = rows_named(parts, [image.name for image in poor])
    judged = {kind: [i for i in poor if i.kind == kind and i.name in named] for kind in (POOR_FOR_ALL, POOR_FOR_ONE)}
    explained = choice.dropped | {SUSPECTS: choice.suspects[0]}
    wanted = {rid for rids in (*explained.values(), *choice.groups(), choice.ranked.border) for rid in rids}
    wanted |= {rid for links in found.links.values() for link in links for rid in (link.rid, link.other)}
    wanted |= {named[image.name] for images in judged.values() for image in images[:faces]}
    rows = chosen_rows(parts, decided, wanted | set(rids_of(taken)))
    best = samples.best_of(db, sorted(_labels_beside(rows)))
    places = rows_at(parts, _places_beside(rows))
    rows |= chosen_rows(parts, decided, {*best.values(), *places.values()} - rows.keys())
    if scale != "quality":
        rows = {rid: row | {"quality": row.get(scale)} for rid, row in rows.items()}
    other_rows, elsewhere = rows_elsewhere(rows)
    items: dict[str, list[Item]] = {
        code: [item_of(rid, rows[rid], best, places, elsewhere) for rid in rids] for code, rids in explained.items()
    }
    items |= {code: [link_item(link) for link in links] for code, links in found.links.items()}
    items |= further_items(taken, rows, best)
    for kind, images in judged.items():
        items[kind] = [Item(named[image.name], image.why) for image in images[:faces]]
    unnamed = sum(image.name not in named for image in poor)
    return Shown(rows | other_rows, items, _order(items, choice), unnamed)


def _labels_beside(rows: Mapping[int, Mapping[str, Any]]) -> set[str]:
    wrong = [row for row in rows.values() if row.get("label_verdict") == LabelVerdict.WRONG_LABEL]
    return {str(row[name]) for row in wrong for name in ("label", "nearest_label") if row.get(name) is not None}


def _places_beside(rows: Mapping[int, Mapping[str, Any]]) -> set[tuple[str, int]]:
    linked = [
        row for row in rows.values() if row.get("duplicate_of_shard") is not None and row.get("reason") not in OVERLAPS
    ]
    return {(row["duplicate_of_shard"], row["duplicate_of_index"]) for row in linked}


def _order(items: Mapping[str, Sequence[Item]], choice: Choice) -> list[int]:
    """Every row that needs a picture: those of the threshold first, then the sections in turn."""
    pairs = [[rid for item in group for rid in item.rids] for group in items.values()]
    return list(dict.fromkeys([*choice.ranked.border, *in_turn([*pairs, *choice.groups()])]))
