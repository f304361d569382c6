"""The conditions of a policy as a person writes them: one text, or a list of them."""

from typing import Any

DROP_WHERE = "drop_where"  # the reason, and the key of the policy
_MOST = 250


def conditions(value: Any) -> tuple[str, ...]:
    """Checked conditions, in their order, each once; `null` and [] are none.

    Raises:
        ValueError: with what was expected.
    """
    items = [value] if isinstance(value, str) else () if value is None else value
    if not isinstance(items, list | tuple) or not all(isinstance(item, str) for item in items):
        raise ValueError("a condition such as 'pose_yaw > 60', or a list of them")
    if len(items) > _MOST:
        raise ValueError(f"at most {_MOST} conditions")
    return tuple(dict.fromkeys(condition(item) for item in items))


def condition(value: str) -> str:
    """One checked condition.

    Raises:
        ValueError: with what was expected.
    """
    # A policy without conditions, and every --help, goes without the database.
    from fiqa_core.tables.conditions import ConditionError, parse_condition

    try:
        return parse_condition(value).text
    except ConditionError as error:
        raise ValueError(f"a condition on the columns of a row, such as 'pose_yaw > 60' ({error})") from None
