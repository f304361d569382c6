"""Make a report: count with DuckDB, choose rows, fetch their faces, write one HTML file."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fiqa_core.curation.decisions.database import CALIBRATED, Findings, load_findings, open_database
from fiqa_core.report import charts, counts, identities, threshold
from fiqa_core.report.choice import Choice, Shown, choose, shown_rows
from fiqa_core.report.curves import Evaluation, read_evaluation
from fiqa_core.report.decided import Decided, read_decided
from fiqa_core.report.earlier_review import earlier_review
from fiqa_core.report.faces import face_data
from fiqa_core.report.further import code_of, read_further
from fiqa_core.report.load import GroupBy, Wanted, groups_by, load
from fiqa_core.report.meaning import Meaning, meaning_of
from fiqa_core.report.not_dropped import Found, not_dropped
from fiqa_core.report.page_data import items_there, page_data, threshold_data
from fiqa_core.report.page_file import Page, render
from fiqa_core.report.pictures import pictures
from fiqa_core.report.provenance import provenance
from fiqa_core.report.settings import MOST_BYTES, MOST_FACE_BYTES, ReportError, ReportSettings
from fiqa_core.report.the_rest import where_the_rest_is
from fiqa_core.report.why import read_ranks
from fiqa_core.storage import in_flight
from fiqa_core.tables.footers import Footer, read_footer
from fiqa_core.tables.quality_files import TableFile
from fiqa_core.wording import counted

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Counts:
    """Everything that was counted; no row is named in it."""

    headline: counts.Headline
    statuses: list[counts.Counted]
    reasons: list[counts.Counted]
    histogram: counts.Histogram | None
    groups: dict[str, counts.GroupTable]
    thresholds: threshold.Thresholds | None
    identities: tuple[list[identities.Identity], int]
    meaning: Meaning | None


def make_report(
    settings: ReportSettings, parts: Sequence[TableFile], workspace: Path, footers: Sequence[Footer] = ()
) -> bytes:
    """The report as one HTML file.

    Args:
        parts: the files of `settings.quality`, checked. workspace: a local folder for nothing else.
        footers: of these files, if they were read already.

    Raises:
        ReportError: inputs that do not go together. TableError: a damaged file. CalibrationError: of another network.
    """
    charts.require_matplotlib()
    footers = footers or list(in_flight([part.url for part in parts], read_footer))
    decided = read_decided(settings.decisions, parts, settings.findings) if settings.decisions else None
    evaluation = read_evaluation(settings.edc) if settings.edc else None
    own = _own_threshold(decided)
    poor = evaluation.tables.poor if evaluation is not None else ()
    rows = sum(part.rows for part in parts)
    taken = read_further(settings.further, rows) if settings.further else []
    groups = groups_by(settings.group_by, parts, decided, settings.group_key, settings.group_column)
    with open_database(workspace, settings.memory_bytes, settings.threads, rows) as db:
        _log.info("counting %s", counted(rows, "row"))
        _load(db, parts, decided, Wanted(groups, settings.scale, shape=bool(decided and decided.pairs)), rows)
        found = _count(db, settings, parts, footers, groups, decided, own)
        choice = choose(db, [reason.code for reason in found.reasons], settings.faces, own)
        policy = decided.run["policy"] if decided else {}
        judged = decided is not None and decided.judged
        left = not_dropped(db, policy, judged, settings.faces, choice.suspects[1])
        shown = shown_rows(db, parts, decided, choice, left, taken, poor, settings.faces, settings.scale)
    ranks = read_ranks(parts)
    _log.info("reading up to %s", counted(len(shown.order), "face"))
    faces = face_data(
        shown.rows,
        pictures(shown.rows, shown.order, settings.quality, settings.moved),
        ranks.explain if ranks is not None else lambda _: "",
        MOST_FACE_BYTES,
    )
    items = items_there(shown.items, faces)
    means = threshold_data(found.thresholds, found.meaning)
    data = page_data(choice, items, faces, means, found.identities[0], earlier_review(decided))
    values = _values(settings, found, choice, left, shown, decided, evaluation)
    values |= {
        "further": [(code_of(number), rule) for number, rule in enumerate(taken)],
        "histogram": _histogram(settings, found, decided is not None, own),
        "provenance": _provenance(settings, parts, decided, evaluation),
        "rest": where_the_rest_is(settings, {code: len(group) for code, group in items.items()}, found.reasons, choice),
        "measures": len(ranks.measures) if ranks is not None else 0,
    }
    html = render(Page(settings, values, data))
    if len(html) > MOST_BYTES:
        raise ReportError(
            f"the report would have {len(html):,} bytes, more than {MOST_BYTES:,}: ask for fewer --group-by"
        )
    return html


def _own_threshold(decided: Decided | None) -> float | None:
    value = decided.run["policy"].get("quality", {}).get("min") if decided else None
    return float(value) if isinstance(value, int | float) else None


def _load(db: Any, parts: Sequence[TableFile], decided: Decided | None, wanted: Wanted, rows: int) -> None:
    load(db, parts, decided, wanted)
    identities.load_findings(db, decided.identities if decided else "")
    if decided is not None and decided.pairs:
        load_findings(db, Findings((), decided.pairs), rows, rows + decided.other_rows)


def _count(
    db: Any,
    settings: ReportSettings,
    parts: Sequence[TableFile],
    footers: Sequence[Footer],
    groups: Sequence[GroupBy],
    decided: Decided | None,
    own: float | None,
) -> Counts:
    explained = decided.summary.get("rules", {}) if decided else {}
    thresholds = threshold.thresholds(db, decided is not None, own)
    meaning = None
    if thresholds is not None and (settings.scale == "quality" or settings.calibration):
        columns = bool(parts) and all(set(CALIBRATED) <= set(part.columns) for part in parts)
        meaning = meaning_of(db, settings.calibration, footers, columns, thresholds.values)
    return Counts(
        counts.headline(db),
        counts.statuses(db),
        counts.reasons(db, explained),
        counts.histogram(db),
        counts.group_tables(db, groups),
        thresholds,
        identities.identities(db),
        meaning,
    )


def _histogram(settings: ReportSettings, found: Counts, decided: bool, own: float | None) -> charts.Chart | None:
    if found.histogram is None:
        return None
    return charts.histogram_chart(found.histogram, decided, own, settings.scale, found.meaning)


def _values(
    settings: ReportSettings,
    found: Counts,
    choice: Choice,
    left: Found,
    shown: Shown,
    decided: Decided | None,
    evaluation: Evaluation | None,
) -> dict[str, Any]:
    """What the template shows."""
    return {
        "headline": found.headline,
        "statuses": found.statuses,
        "reasons": found.reasons,
        "decided": decided is not None,
        "scale": settings.scale,
        "meaning": found.meaning,
        "groups": {name: _group_view(name, table, decided is not None) for name, table in found.groups.items()},
        "budget": _budget(decided),
        "thresholds": found.thresholds is not None,
        "has_rest": found.thresholds is not None and found.thresholds.rest is not None,
        "least_images": threshold.LEAST_IMAGES,
        "identities": (len(found.identities[0]), found.identities[1]),
        "not_dropped": left,
        "splits": choice.splits,
        "merges": choice.merges,
        "found": choice.found,
        "has_findings": bool(decided and decided.identities),
        "curves": [charts.curve_chart(c.title, c.lines) for c in evaluation.charts] if evaluation else [],
        "comparisons": _comparisons(evaluation),
        "evaluation": evaluation,
        "unnamed": shown.unnamed,
    }


def _group_view(name: str, table: counts.GroupTable, decided: bool) -> dict[str, Any]:
    drawn = [charts.group_chart(name, table.groups)] if table.groups else []
    drawn += [charts.loss_chart(name, table.groups)] if table.groups and decided else []
    return {"charts": drawn, "groups": table.groups, "more": table.more}


def _budget(decided: Decided | None) -> Mapping[str, Any] | None:
    """The budget that the filter kept for groups, and its price; None without."""
    groups = decided.summary.get("groups") if decided else None
    return groups.get("budget") if isinstance(groups, Mapping) else None


def _comparisons(evaluation: Evaluation | None) -> list[tuple[str, charts.Chart]]:
    if evaluation is None:
        return []
    return [(each.title, charts.difference_chart(each)) for each in evaluation.tables.comparisons]


def _provenance(
    settings: ReportSettings, parts: Sequence[TableFile], decided: Decided | None, evaluation: Evaluation | None
) -> Any:
    edc = None if evaluation is None else (settings.edc, evaluation)
    return provenance(parts, settings.quality, decided, edc, settings.command)
