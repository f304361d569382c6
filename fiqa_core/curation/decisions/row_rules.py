"""Rules that look at one row alone: such a rule is one field of a policy's section, made by `row_rule`.

The field has everything: the setting's default, check, text and option, the reason code, its meaning, and the condition
in SQL. The policy file, the command line, the decisions, `removed.csv` and the summary follow from it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

from fiqa_core.settings.checks import Check
from fiqa_core.settings.fields import Declared


@dataclass(frozen=True)
class RowRule:
    """When a row is dropped, given the setting's value; the rule is off if that is None, False or empty.

    Attributes:
        code: the reason. meaning: the reason in one sentence. explained: the same with `{value}`.
        condition: the value -> SQL on the columns of `state` (quality: FLOAT, verdict, ident).
        stored: whether the condition also uses `pixels`, `quantisation` or `bytes` of the stored image, what the score
            means, `percentile` and `predicted_fnmr`, or `condition`, the condition of the policy that holds.
        shown: the setting's value as `explained` shows it.
    """

    code: str
    meaning: str
    explained: str
    condition: Callable[[Any], str]
    stored: bool = False
    shown: Callable[[Any], Any] = lambda value: value


class PlacedRule(NamedTuple):
    """A rule and the setting that it goes by."""

    section: str
    key: str
    rule: RowRule


def row_rule(rule: RowRule, check: Check, text: str, flag: str, argument: str = "N", default: Any = None) -> Any:
    """A field of a policy's section that switches a rule on; by default it is off. Arguments as for `setting`."""
    return field(default=default, metadata={"setting": Declared(check, text, flag, argument), "rule": rule})


def rules_of(sections: Iterable[tuple[str, Any]]) -> tuple[PlacedRule, ...]:
    """The rules of all sections, in the order of their fields, which is the order of evaluation."""
    return tuple(
        PlacedRule(section, item.name, item.metadata["rule"])
        for section, kind in sections
        for item in fields(kind)
        if "rule" in item.metadata
    )


def float32(value: float) -> str:
    """A number for comparison with qualities: in 32 bits as they are, so that 0.3 is the 0.3 of the table."""
    return f"{value!r}::FLOAT" if abs(value) < 3.4e38 else f"{value!r}::DOUBLE"
