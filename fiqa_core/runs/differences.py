"""The differences between an earlier run and this one, in the same words for every command: `name: X then, Y now`."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fiqa_core.runs.folder import AnotherRunError

_LONGEST = 80  # characters of a value that are shown
SHOWN = 5  # files of one kind that are named


def changed(then: Mapping[str, Any], now: Mapping[str, Any], names: Iterable[str] | None = None) -> list[str]:
    """A line for each setting that differs, sorted by name; None stands for a setting that a run did not have.

    `names`: the settings to compare, in this order; None: all of both.
    """
    compared = sorted({**then, **now}) if names is None else names
    return [
        f"{name}: {_shown(then.get(name))} then, {_shown(now.get(name))} now"
        for name in compared
        if then.get(name) != now.get(name)
    ]


def flat(values: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Nested settings one by one, as `group.name`."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= flat(value, f"{path}{name}.") if isinstance(value, Mapping) else {f"{path}{name}": value}
    return found


def as_written(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as they come back from a JSON file (tuples are lists)."""
    return dict(json.loads(json.dumps(values)))


def refuse_differences(output: str, differences: Sequence[str], advice: Sequence[str] = ()) -> None:
    """Refuse to go on from a run that was another one; does nothing without differences.

    `advice`: further lines for the end of the message.

    Raises:
        AnotherRunError: with a line for each difference.
    """
    if differences:
        error = AnotherRunError.of_lines(
            [
                f"{output}: the earlier run was another one, so --resume would mix two:",
                *(f"  {difference}" for difference in differences),
                "Use the earlier settings, or --overwrite, or another --output.",
                *advice,
            ]
        )
        error.differences = tuple(differences)
        raise error


def _shown(value: Any) -> str:
    return str(value)[:_LONGEST]
