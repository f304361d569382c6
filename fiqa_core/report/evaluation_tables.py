"""What an evaluation says beside its curves: paired differences, FNMR by group, and images that are poor for judges."""

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from fiqa_core import storage
from fiqa_core.curation.csv_cells import restored
from fiqa_core.evaluation.poor_images import DROP, KEEP
from fiqa_core.report.settings import ReportError
from fiqa_core.wording import visible

DIFFERENCES, GROUPS, POOR_IMAGES = "differences.csv", "groups.csv", "poor_images.csv"
POOR_FOR_ALL, POOR_FOR_ONE = "poor_for_all", "poor_for_one"
_ADVICE = {DROP: POOR_FOR_ALL, KEEP: POOR_FOR_ONE}
_MOST_ROWS = 60
_MOST_CHARTS = 6
_MOST_NAME = 200
_BY_GROUP = ("dataset", "fr_model", "method", "fmr", "group")


@dataclass(frozen=True)
class Table:
    """heads and rows of text; more: rows that were left out."""

    heads: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    more: int = 0


@dataclass(frozen=True)
class Difference:
    """A measure against another: difference of the areas to 30 % discard with its band (NaN: none), and the verdict."""

    method: str
    value: float
    low: float
    high: float
    verdict: str


@dataclass(frozen=True)
class Comparison:
    """Measures of one dataset, recogniser, protocol and FMR, compared with `against`."""

    title: str
    against: str
    differences: tuple[Difference, ...]


@dataclass(frozen=True)
class PoorImage:
    """An image that judges find poor. name: in the pair list. kind: `poor_for_all` or `poor_for_one`. why: in words."""

    name: str
    kind: str
    why: str


@dataclass(frozen=True)
class EvaluationTables:
    """comparisons: for charts; differences, groups: tables. poor: images, most votes first; looked: whether several
    recognisers were asked."""

    comparisons: tuple[Comparison, ...] = ()
    differences: Table = Table()
    groups: Table = Table()
    poor: tuple[PoorImage, ...] = ()
    looked: bool = False


def read_tables(folder: str) -> EvaluationTables:
    """What an evaluation's folder has of these; empty where it was not asked for.

    Raises:
        ReportError: a file that is not as fiqa evaluate writes it.
    """
    names = storage.list_names(folder)
    read = {name: _read(folder, name) for name in (DIFFERENCES, GROUPS, POOR_IMAGES) if name in names}
    try:
        differences = read.get(DIFFERENCES, [])
        return EvaluationTables(
            tuple(_comparisons(differences))[:_MOST_CHARTS],
            _differences(differences),
            _groups(read.get(GROUPS, [])),
            tuple(_poor(read.get(POOR_IMAGES, []))),
            POOR_IMAGES in read,
        )
    except (KeyError, ValueError) as error:
        raise ReportError(f"{folder}: a table of it is damaged ({error!r}). Run fiqa evaluate again.") from error


def _read(folder: str, name: str) -> list[dict[str, str]]:
    text = storage.read_bytes(storage.join(folder, name)).decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text, newline="")))


def _name(cell: str) -> str:
    return visible(restored(cell)[:_MOST_NAME])


def _number(cell: str) -> float:
    return float(cell) if cell else math.nan


def _comparisons(rows: Sequence[Mapping[str, str]]) -> Iterator[Comparison]:
    found: dict[tuple[str, ...], list[Mapping[str, str]]] = {}
    for row in rows:
        key = tuple(row[name] for name in ("dataset", "fr_model", "protocol", "fmr", "against"))
        found.setdefault(key, []).append(row)
    for (dataset, model, protocol, fmr, against), own in found.items():
        title = f"{_name(dataset)}, {_name(model)}, FMR {_number(fmr):g} ({_name(protocol)}), against {_name(against)}"
        differences = tuple(map(_difference, own))
        yield Comparison(title, _name(against), differences)


def _difference(row: Mapping[str, str]) -> Difference:
    value, low, high = (_number(row[name]) for name in ("auc_30", "auc_30_low", "auc_30_high"))
    return Difference(_name(row["method"]), value, low, high, _name(row["verdict"]))


def _differences(rows: Sequence[Mapping[str, str]]) -> Table:
    heads = ("dataset", "recogniser", "protocol", "FMR", "measure", "against", "difference", "95 % band", "verdict")
    lines = []
    for row in rows[:_MOST_ROWS]:
        value, low, high = (_number(row[name]) for name in ("auc_30", "auc_30_low", "auc_30_high"))
        band = "" if math.isnan(low) else f"{low:.3g} to {high:.3g}"
        shown = "not measurable" if math.isnan(value) else f"{value:.3g}"
        names = [_name(row[name]) for name in ("dataset", "fr_model", "protocol", "fmr", "method", "against")]
        lines.append((*names, shown, band, _name(row["verdict"]) or "no band"))
    return Table(heads, tuple(lines), max(0, len(rows) - _MOST_ROWS))


def _groups(rows: Sequence[Mapping[str, str]]) -> Table:
    """One line a group, with the FNMR at each discarded share."""
    lines: dict[tuple[str, ...], dict[str, Mapping[str, str]]] = {}
    for row in rows:
        lines.setdefault(tuple(row[name] for name in _BY_GROUP), {})[row["discard"]] = row
    shares = list(dict.fromkeys(row["discard"] for row in rows))
    rates = tuple(f"FNMR at {float(share):.0%} discarded" for share in shares)
    heads = ("dataset", "recogniser", "measure", "FMR", "group", "mated pairs", *rates)
    found = []
    for key, by_share in list(lines.items())[:_MOST_ROWS]:
        cells = [_rate(by_share.get(share)) for share in shares]
        found.append((*map(_name, key), f"{int(next(iter(by_share.values()))['n_mated']):,}", *cells))
    return Table(heads, tuple(found), max(0, len(lines) - _MOST_ROWS)) if rows else Table()


def _rate(row: Mapping[str, str] | None) -> str:
    if row is None or not row["fnmr"]:
        return "no pair left"
    return f"{float(row['fnmr']):.2%} ({float(row['discarded']):.1%} of its pairs gone)"


def _poor(rows: Sequence[Mapping[str, str]]) -> Iterator[PoorImage]:
    """Each image once, with the first (strictest) line that names it."""
    seen: set[tuple[str, str]] = set()
    for row in rows:
        kind = _ADVICE.get(row["advice"])
        name = restored(row["image"])
        if kind is None or (name, kind) in seen:
            continue
        seen.add((name, kind))
        judges, measures = _name(row["judges_names"]) or "none", _name(row["measures_names"]) or "none"
        failing = f"{_number(row['failing']):.0%} of its {int(row['mated_pairs']):,} mated pairs fail"
        why = f"poor for recognisers: {judges}; for measures: {measures}; {failing} at FMR {_number(row['fmr']):g}"
        yield PoorImage(name, kind, why)
