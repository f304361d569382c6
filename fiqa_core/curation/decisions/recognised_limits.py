"""When a face counts as recognised: the limits, and how a policy writes them."""

from dataclasses import dataclass
from typing import Any

from fiqa_core.settings.checks import similarity, switch


@dataclass(frozen=True)
class Recognised:
    """When the embeddings clearly place a face in its own identity (docs/curation.md).

    Attributes:
        cosine: least mean cosine to the other images of its identity. margin: least difference between its cosine to
            the centre of its own identity and its cosine to the nearest centre of another identity.
    """

    cosine: float = 0.5
    margin: float = 0.15


def recognised(value: Any) -> Recognised | None:
    """`true` (the default limits), `false`, or {cosine, margin}; on the command line COSINE,MARGIN.

    Raises:
        ValueError: with what was expected.
    """
    expected = "true, false, or a cosine and a margin, {cosine: 0.5, margin: 0.15} (as an option: 0.5,0.15)"
    if isinstance(value, Recognised):
        return value
    if isinstance(value, str) and "," in value:
        value = dict(zip(("cosine", "margin"), value.split(","), strict=False)) if value.count(",") == 1 else value
    if isinstance(value, dict):
        if not value.keys() <= {"cosine", "margin"}:
            raise ValueError(expected)
        limits = {name: similarity(limit) for name, limit in value.items()}
        if limits.get("margin", 0.0) < 0:
            raise ValueError("a margin from 0 to 1")
        return Recognised(**limits)
    try:
        return Recognised() if value is not None and switch(value) else None
    except ValueError:
        raise ValueError(expected) from None
