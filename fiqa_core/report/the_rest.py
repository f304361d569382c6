"""Where a person finds the faces that a report does not hold."""

import shlex
from collections.abc import Mapping, Sequence

from fiqa_core.report.choice import Choice
from fiqa_core.report.counts import Counted
from fiqa_core.report.settings import ReportSettings
from fiqa_core.report.threshold import text_of
from fiqa_core.wording import visible


def where_the_rest_is(
    settings: ReportSettings, shown: Mapping[str, int], reasons: Sequence[Counted], choice: Choice
) -> dict[str, str]:
    """By reason (and `tenths`), the command that shows the faces which the file lacks; nothing where it has all."""
    rest = {}
    tables = ["--quality", *settings.quality]
    for reason in reasons:
        if shown.get(reason.code, 0) < reason.rows:
            condition = f"reason = '{reason.code}'"
            rest[reason.code] = _line([*tables, "--decisions", settings.decisions], condition, reason.code)
    worst = choice.ranked.tenths[0] if choice.ranked.tenths else None
    if worst is not None and len(worst.rids) < worst.rows and settings.scale == "quality":
        rest["tenths"] = _line(tables, f"quality <= {text_of(worst.high)}::FLOAT", "worst")
    return rest


def _line(words: Sequence[str], condition: str, name: str) -> str:
    picture = [*words, "--where", condition, "--limit", "1000", "--output", f"{name}.png"]
    return visible(f"fiqa show {shlex.join(picture)}")
