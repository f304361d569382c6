"""The counts of all stages agree, or the run ends."""

from collections.abc import Mapping
from typing import Any

from fiqa_core.lines_error import LinesError
from fiqa_core.wording import counted


class ReconcileError(LinesError):
    """Two stages counted different numbers of records; the message names both."""


def reconcile(
    scores: Mapping[str, Any], embeddings: Mapping[str, Any] | None, decided: Mapping[str, Any], kept: int
) -> None:
    """Compare the summaries of the stages. Shards that changed between two stages are the usual reason of a difference.

    Args:
        kept: images that the account found to be kept.

    Raises:
        ReconcileError: it names the stages and their counts.
    """
    pairs = [
        ("decided", decided["rows"], "scored", scores["records"]),
        ("kept", decided["kept"], "in the account", kept),
    ]
    if embeddings is not None:
        pairs.append(("embedded", embeddings["records"], "scored", scores["records"]))
    wrong = [f"  {counted(a, 'record')} {one}, {b:,} {other}" for one, a, other, b in pairs if a != b]
    dropped = sum(decided["dropped"].values())
    if decided["kept"] + dropped != decided["rows"]:
        wrong.append(f"  {decided['kept']:,} kept and {dropped:,} dropped of {counted(decided['rows'], 'record')}")
    if wrong:
        raise ReconcileError.of_lines(
            [
                "the stages do not agree; nothing more was written:",
                *wrong,
                "Did shards change? Run the same command again.",
            ]
        )
