"""Faces that a recogniser clearly places in their own identity: the rules of quality do not drop them."""

from typing import Any

from fiqa_core.curation.decisions.database import Findings, scalar
from fiqa_core.curation.decisions.recognised_limits import Recognised
from fiqa_core.settings.fields import SettingError
from fiqa_core.wording import counted


def is_recognised(limits: Recognised | None) -> str:
    """Condition on a row `f` of `findings`; never null.

    `genuine_cosine` is compared in 32 bits, the margin in 64 bits. Without another identity there is no margin, and
    nothing is recognised.
    """
    if limits is None:
        return "false"
    return (
        f"coalesce(f.genuine_cosine >= {limits.cosine!r}::FLOAT AND "
        f"f.centre_cosine::DOUBLE - f.nearest_cosine::DOUBLE >= {limits.margin!r}::DOUBLE, false)"
    )


def check_compared(db: Any, limits: Recognised | None, findings: Findings) -> None:
    """Refuse findings that lack a comparison with other identities which this policy needs.

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
