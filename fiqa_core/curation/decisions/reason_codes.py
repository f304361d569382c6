"""Every reason code in the order of evaluation: those of schemas/drops.py, and those of the policy's row rules."""

from collections.abc import Iterator

from fiqa_core.curation.decisions.policy import ROW_RULES
from schemas.drops import DROPS, Drop


def _in_order() -> Iterator[tuple[str, str]]:
    for drop, meaning in DROPS.items():
        if drop is Drop.BELOW_GLOBAL_QUANTILE:
            yield from ((placed.rule.code, placed.rule.meaning) for placed in ROW_RULES)
        yield str(drop), meaning


MEANINGS: dict[str, str] = dict(_in_order())
# In the engine's tables a reason is a number: 0 means kept, the others count from 1 in the order of evaluation.
REASONS: tuple[str | None, ...] = (None, *MEANINGS)


def reason_code(reason: str) -> int:
    """The number that stands for a reason in the engine's tables."""
    return REASONS.index(str(reason))
