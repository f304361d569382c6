"""Faces that a recogniser places surely in their own identity: rules of quality leave them alone."""

from typing import Any

from fiqa_core.curation.decisions.database import Findings, scalar
from fiqa_core.curation.decisions.recognised_limits import Recognised
from fiqa_core.settings.fields import SettingError
from fiqa_core.wording import counted


def is_recognised(limits: Recognised | None) -> str:
    """Condition, never null, on a row `f` of `findings`; its label is known where it was judged.

    `genuine_cosine` is compared as the number of 32 bits that it is, the margin in 64 bits. Without another identity
    there is no margin, and nothing is recognised.
    """
    if limits is None:
        return "false"
    return (
        f"coalesce(f.genuine_cosine >= {limits.cosine!r}::FLOAT AND "
        f"f.centre_cosine::DOUBLE - f.nearest_cosine::DOUBLE >= {limits.margin!r}::DOUBLE, false)"
    )


def check_compared(db: Any, limits: Recognised | None, findings: Findings) -> None:
    """Refuse findings of a search that did not compare with other identities what this policy wants to know of.

    Raises:
        SettingError: it says how to make them.
    """
    if limits is None:
        return
    others = scalar(db, "SELECT count(DISTINCT label) FROM findings JOIN raw USING (rid)")
    left_out = scalar(
        db,
        "SELECT count(*) FROM findings WHERE (genuine_cosine IS NULL AND centre_cosine IS NOT NULL) "
        f"OR (genuine_cosine >= {limits.cosine!r}::FLOAT AND nearest_cosine IS NULL)",
    )
    if left_out and others > 1:
        where = f"{findings.labels[0].rpartition('/')[0]}: " if findings.labels else ""
        raise SettingError(
            f"{where}{counted(left_out, 'row of the findings was', 'rows of the findings were')} not compared with "
            "other identities, which --protect-recognised needs: they come from a run without it, or with a higher "
            "cosine. Give --embeddings instead of --findings."
        )
