"""What a person decided in an earlier report, so that the page shows it and saves it again."""

from fiqa_core import storage
from fiqa_core.curation.decisions.review import REVIEW, read_review
from fiqa_core.report.decided import Decided

_MOST = 20_000


def earlier_review(decided: Decided | None) -> list[dict[str, str]]:
    """Entries of the review that the decisions obeyed (sha256, verdict, label, note); empty without one."""
    if decided is None or not decided.run.get("review"):
        return []
    entries = read_review(storage.join(decided.folder, REVIEW)).entries
    return [
        {"sha256": entry.sha256, "verdict": entry.verdict, "label": entry.label or "", "note": entry.note}
        for entry in entries[:_MOST]
    ]
