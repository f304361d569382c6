"""What a group loses under the decisions, with a band that counts each identity as one draw.

Images of one person are alike, so they are lost together; a band that counted single images would be too narrow. The
variance of the share is that of a ratio over identities (Cochran, Sampling Techniques, section 6.4, clusters), and the
band is Wilson's with the number of independent images that gives this variance.
"""

import math
from dataclasses import dataclass
from typing import Any

from fiqa_core.curation.decisions.policy import ROW_RULES
from schemas.drops import Drop

QUALITY_RULES = (
    *(placed.rule.code for placed in ROW_RULES),
    Drop.BELOW_GLOBAL_QUANTILE.value,
    Drop.BELOW_IDENTITY_QUANTILE.value,
)
_Z = 1.959963984540054  # of the normal distribution, two-sided 95 %


@dataclass(frozen=True)
class Loss:
    """Scored rows that are not kept: their share in [0, 1], its 95 % band, and the share that rules of quality drop."""

    share: float
    low: float
    high: float
    by_quality: float


def losses(db: Any, by: str) -> dict[str | None, Loss]:
    """The loss of each value (as text) of an SQL expression over `rows`; a row without a label is an identity."""
    rules = ", ".join(f"'{code}'" for code in QUALITY_RULES)
    clusters = (
        f"SELECT ({by})::VARCHAR AS g, count(*)::DOUBLE AS n, count(reason)::DOUBLE AS l, "
        f"(count(*) FILTER (reason IN ({rules})))::DOUBLE AS q "
        "FROM rows WHERE quality IS NOT NULL GROUP BY g, label, CASE WHEN label IS NULL THEN rid END"
    )
    query = (
        f"SELECT g, count(*), sum(n), sum(l), sum(q), sum(l * l), sum(l * n), sum(n * n) FROM ({clusters}) GROUP BY g"
    )
    return {group: _loss(*numbers) for group, *numbers in db.execute(query).fetchall()}


def _loss(
    identities: int, images: float, lost: float, by_quality: float, lost_lost: float, lost_all: float, all_all: float
) -> Loss:
    share = lost / images
    low, high = band(share, images, identities, lost_lost - 2 * share * lost_all + share * share * all_all)
    return Loss(share, low, high, by_quality / images)


def band(share: float, images: float, identities: int, squares: float) -> tuple[float, float]:
    """Wilson's 95 % band of a share.

    Args:
        squares: sum over identities of (images lost - share * images) squared.
    """
    independent = float(identities)  # where all or none is lost, or there is one identity, no spread can be seen
    if identities > 1 and 0 < share < 1 and squares > 0:
        variance = identities / (identities - 1) * squares / images**2
        independent = min(images, share * (1 - share) / variance)
    middle = (share + _Z**2 / (2 * independent)) / (1 + _Z**2 / independent)
    half = _Z / (1 + _Z**2 / independent) * math.sqrt(share * (1 - share) / independent + _Z**2 / (4 * independent**2))
    return max(0.0, middle - half), min(1.0, middle + half)
