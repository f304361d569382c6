"""What the page's script works with: plain JSON."""

from collections.abc import Mapping, Sequence
from typing import Any

from fiqa_core.report import identities, threshold
from fiqa_core.report.choice import Choice
from fiqa_core.report.faces import Item
from fiqa_core.report.meaning import Meaning

_MOST_LABEL = 300


def page_data(
    choice: Choice,
    items: Mapping[str, Sequence[Item]],
    faces: Mapping[str, Any],
    thresholds: dict[str, Any] | None,
    rows: Sequence[identities.Identity],
    review: Sequence[Mapping[str, str]],
) -> dict[str, Any]:
    """Everything; of the chosen rows those whose face is in the file."""

    def there(rids: Sequence[int]) -> list[int]:
        return [rid for rid in rids if str(rid) in faces]

    tenths = choice.ranked.tenths
    return {
        "faces": faces,
        "tenths": [{"low": t.low, "high": t.high, "rows": t.rows, "rids": there(t.rids)} for t in tenths],
        "border": there(choice.ranked.border),
        "dropped": {code: [item.to_dict() for item in group] for code, group in items.items()},
        "reviewed": there(choice.reviewed),
        "review": review,
        "splits": [[there(split.larger), there(split.smaller)] for split in choice.splits],
        "merges": [[there(merge.faces), there(merge.other_faces)] for merge in choice.merges],
        "thresholds": thresholds,
        "identities": _identity_data(rows),
    }


def items_there(items: Mapping[str, Sequence[Item]], faces: Mapping[str, Any]) -> dict[str, list[Item]]:
    """The items all of whose faces are in the file."""
    return {
        code: [item for item in group if all(str(rid) in faces for rid in item.rids)] for code, group in items.items()
    }


def threshold_data(found: threshold.Thresholds | None, meaning: Meaning | None) -> dict[str, Any] | None:
    """Counts at each threshold, and what a score there means."""
    if found is None:
        return None

    def kept(of: threshold.Kept) -> dict[str, Any]:
        return {"images": of.images, "identities": {str(least): n for least, n in of.identities.items()}}

    rest = {} if found.rest is None else {"rest": kept(found.rest)}
    texts = [threshold.text_of(value) for value in found.values]
    means = {} if meaning is None else {"meaning": meaning.at(found.values)}
    return {"values": texts, "start": found.start, "all": kept(found.all)} | rest | means


def _identity_data(rows: Sequence[identities.Identity]) -> dict[str, list[Any]]:
    """Columns, which take half the room of rows."""
    return {
        "label": [row.label[:_MOST_LABEL] for row in rows],
        "images": [row.images for row in rows],
        "kept": [row.kept for row in rows],
        "mean": [round(row.mean, 4) for row in rows],
        "worst": [round(row.worst, 4) for row in rows],
        "best": [round(row.best, 4) for row in rows],
        "spread": [round(row.spread, 4) for row in rows],
    }
