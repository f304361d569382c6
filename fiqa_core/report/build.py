"""Make a report: count with DuckDB, choose rows, fetch their faces, write one HTML file."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fiqa_core.curation.decisions.database import open_database
from fiqa_core.report import charts, counts, identities, samples, threshold
from fiqa_core.report.chosen import chosen_rows, rows_at
from fiqa_core.report.curves import Evaluation, read_evaluation
from fiqa_core.report.decided import Decided, read_decided
from fiqa_core.report.earlier_review import earlier_review
from fiqa_core.report.faces import Item, face_data, in_turn, item_of
from fiqa_core.report.further import code_of, further_items, read_further, rids_of
from fiqa_core.report.load import load
from fiqa_core.report.page_file import Page, render
from fiqa_core.report.pictures import pictures
from fiqa_core.report.provenance import provenance
from fiqa_core.report.settings import MOST_BYTES, MOST_FACE_BYTES, ReportError, ReportSettings
from fiqa_core.tables.quality_files import TableFile
from fiqa_core.wording import counted
from schemas.label_verdicts import LabelVerdict

SUSPECTS = "suspects"  # in place of a reason, for faces that are not removed
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Counts:
    """Everything that was counted; no row is named in it."""

    headline: counts.Headline
    statuses: list[counts.Counted]
    reasons: list[counts.Counted]
    histogram: counts.Histogram | None
    groups: dict[str, list[counts.Group]]
    thresholds: threshold.Thresholds | None
    identities: tuple[list[identities.Identity], int]


@dataclass(frozen=True)
class Choice:
    """The rows that are shown, by section."""

    ranked: samples.Ranked
    dropped: dict[str, list[int]]
    suspects: tuple[list[int], int]
    reviewed: list[int]
    splits: list[identities.Split]
    merges: list[identities.Merge]
    found: tuple[int, int]

    def rids(self) -> list[int]:
        """Every row, the most telling ones first."""
        groups: list[Sequence[int]] = [*self.dropped.values(), self.suspects[0], self.reviewed]
        groups += [(*split.larger, *split.smaller) for split in self.splits]
        groups += [(*merge.faces, *merge.other_faces) for merge in self.merges]
        groups += [tenth.rids for tenth in self.ranked.tenths]
        return list(dict.fromkeys(in_turn([*groups, self.ranked.border])))


def make_report(settings: ReportSettings, parts: Sequence[TableFile], workspace: Path) -> bytes:
    """The report as one HTML file.

    Args:
        parts: the files of `settings.quality`, checked. workspace: a local folder for nothing else.

    Raises:
        ReportError: inputs that do not go together. TableError: a damaged file.
    """
    charts.require_matplotlib()
    decided = read_decided(settings.decisions, parts) if settings.decisions else None
    evaluation = read_evaluation(settings.edc) if settings.edc else None
    own = _own_threshold(decided)
    rows = sum(part.rows for part in parts)
    with open_database(workspace, settings.memory_bytes, settings.threads, rows) as db:
        _log.info("counting %s", counted(rows, "row"))
        load(db, parts, decided, settings.group_by)
        identities.load_findings(db, decided.identities if decided else "")
        found = _count(db, decided, settings.group_by, own)
        choice = _choose(db, found, settings.faces, own)
        further = read_further(settings.further, rows) if settings.further else []
        shown = chosen_rows(parts, decided, [*choice.rids(), *rids_of(further)])
        best = samples.best_of(db, sorted(_labels_beside(shown)))
    places = rows_at(parts, _places_beside(shown))
    more = {*best.values(), *places.values()} - shown.keys()
    shown |= chosen_rows(parts, decided, more)
    explained = choice.dropped | {SUSPECTS: choice.suspects[0]}
    items = {code: [item_of(rid, shown[rid], best, places) for rid in rids] for code, rids in explained.items()}
    items |= further_items(further, shown, best)
    order = _order(items, choice)
    _log.info("reading %s", counted(len(order), "face"))
    images = pictures(shown, order, settings.quality, settings.moved, MOST_FACE_BYTES)
    page = Page(
        settings,
        {
            "headline": found.headline,
            "statuses": found.statuses,
            "reasons": found.reasons,
            "decided": decided is not None,
            "histogram": _histogram(found, decided is not None, own),
            "groups": {n: (charts.group_chart(n, g) if g else None, g) for n, g in found.groups.items()},
            "thresholds": found.thresholds is not None,
            "has_rest": found.thresholds is not None and found.thresholds.rest is not None,
            "least_images": threshold.LEAST_IMAGES,
            "identities": (len(found.identities[0]), found.identities[1]),
            "suspects": choice.suspects[1],
            "further": [(code_of(number), taken) for number, taken in enumerate(further)],
            "splits": choice.splits,
            "merges": choice.merges,
            "found": choice.found,
            "has_findings": bool(decided and decided.identities),
            "curves": [charts.curve_chart(c.title, c.lines) for c in evaluation.charts] if evaluation else [],
            "evaluation": evaluation,
            "provenance": _provenance(settings, parts, decided, evaluation),
        },
        _data(found, choice, items, face_data(shown, images), earlier_review(decided)),
    )
    html = render(page)
    if len(html) > MOST_BYTES:
        raise ReportError(
            f"the report would have {len(html):,} bytes, more than {MOST_BYTES:,}: ask for fewer --examples"
        )
    return html


def _own_threshold(decided: Decided | None) -> float | None:
    value = decided.run["policy"].get("quality", {}).get("min") if decided else None
    return float(value) if isinstance(value, int | float) else None


def _count(db: Any, decided: Decided | None, group_by: Sequence[str], own: float | None) -> Counts:
    explained = decided.summary.get("rules", {}) if decided else {}
    return Counts(
        counts.headline(db),
        counts.statuses(db),
        counts.reasons(db, explained),
        counts.histogram(db),
        counts.group_tables(db, group_by),
        threshold.thresholds(db, decided is not None, own),
        identities.identities(db),
    )


def _choose(db: Any, found: Counts, faces: int, own: float | None) -> Choice:
    return Choice(
        samples.ranked(db, faces, own),
        {reason.code: samples.of_reason(db, reason.code, faces) for reason in found.reasons},
        samples.of_suspects(db, faces),
        samples.of_reviewed(db),
        identities.splits(db),
        identities.merges(db),
        identities.split_and_merged(db),
    )


def _labels_beside(rows: Mapping[int, Mapping[str, Any]]) -> set[str]:
    wrong = [row for row in rows.values() if row.get("label_verdict") == LabelVerdict.WRONG_LABEL]
    return {str(row[name]) for row in wrong for name in ("label", "nearest_label") if row.get(name) is not None}


def _places_beside(rows: Mapping[int, Mapping[str, Any]]) -> set[tuple[str, int]]:
    linked = [row for row in rows.values() if row.get("duplicate_of_shard") is not None]
    return {(row["duplicate_of_shard"], row["duplicate_of_index"]) for row in linked}


def _order(items: Mapping[str, Sequence[Item]], choice: Choice) -> list[int]:
    """Every row that needs a picture: pairs of the rules first."""
    pairs = [[rid for item in group for rid in (item.rid, *(b.rid for b in item.beside))] for group in items.values()]
    return list(dict.fromkeys([*in_turn(pairs), *choice.rids()]))


def _histogram(found: Counts, decided: bool, own: float | None) -> charts.Chart | None:
    return None if found.histogram is None else charts.histogram_chart(found.histogram, decided, own)


def _provenance(
    settings: ReportSettings, parts: Sequence[TableFile], decided: Decided | None, evaluation: Evaluation | None
) -> Any:
    edc = None if evaluation is None else (settings.edc, evaluation)
    return provenance(parts, settings.quality, decided, edc, settings.command)


def _data(
    found: Counts,
    choice: Choice,
    items: Mapping[str, Sequence[Item]],
    faces: Mapping[str, Any],
    review: Sequence[Mapping[str, str]],
) -> dict[str, Any]:
    """What the page's script works with."""
    return {
        "faces": faces,
        "tenths": [{"low": t.low, "high": t.high, "rows": t.rows, "rids": t.rids} for t in choice.ranked.tenths],
        "border": choice.ranked.border,
        "dropped": {code: [item.to_dict() for item in group] for code, group in items.items()},
        "reviewed": choice.reviewed,
        "review": review,
        "splits": [[split.larger, split.smaller] for split in choice.splits],
        "merges": [[merge.faces, merge.other_faces] for merge in choice.merges],
        "thresholds": _threshold_data(found.thresholds),
        "identities": _identity_data(found.identities[0]),
    }


def _threshold_data(found: threshold.Thresholds | None) -> dict[str, Any] | None:
    if found is None:
        return None

    def kept(of: threshold.Kept) -> dict[str, Any]:
        return {"images": of.images, "identities": {str(least): n for least, n in of.identities.items()}}

    rest = {} if found.rest is None else {"rest": kept(found.rest)}
    texts = [threshold.text_of(value) for value in found.values]
    return {"values": texts, "start": found.start, "all": kept(found.all)} | rest


def _identity_data(rows: Sequence[identities.Identity]) -> dict[str, list[Any]]:
    """Columns, which take half the room of rows."""
    return {
        "label": [row.label[:300] for row in rows],
        "images": [row.images for row in rows],
        "kept": [row.kept for row in rows],
        "mean": [round(row.mean, 4) for row in rows],
        "worst": [round(row.worst, 4) for row in rows],
        "best": [round(row.best, 4) for row in rows],
        "spread": [round(row.spread, 4) for row in rows],
    }
