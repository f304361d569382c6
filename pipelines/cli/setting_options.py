"""Options of the command line from declared settings: name, check, text and default come from the declaration."""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields
from typing import Any

from fiqa_core.settings.checks import Check, names
from fiqa_core.settings.fields import declared
from fiqa_core.settings.yaml_file import Values


def add_option(parser: Any, section: str, item: "Field[Any]", with_default: bool = True, **more: Any) -> None:
    """Add the option of a setting that has one; `more` goes to argparse.

    Args:
        with_default: whether --help ends with the default of the declaration.
    """
    found = declared(item)
    if not found.flag:
        return
    choices: tuple[str, ...] = getattr(found.check, "words", ())
    words = f" ({', '.join(choices)})" if choices else ""
    default = _shown_default(item) if with_default else ""
    if found.check is names:
        more = {"nargs": "+", **more}
    parser.add_argument(
        found.flag,
        dest=_destination(section, item.name),
        type=from_text(_one_name if found.check is names else found.check),
        metavar=found.argument,
        default=argparse.SUPPRESS,
        help=f"{found.text}{words}{default}".replace("%", "%%"),
        **more,
    )


def given_settings(arguments: argparse.Namespace, sections: Mapping[str, Any]) -> Values:
    """The checked settings that were given as options, by section and name."""
    given = vars(arguments)
    values: Values = {}
    for section, kind in sections.items():
        for item in fields(kind):
            if (destination := _destination(section, item.name)) in given:
                values.setdefault(section, {})[item.name] = declared(item).check(given[destination])
    return values


def from_text(check: Check) -> Callable[[str], Any]:
    """The check as argparse calls it: on the text of an option."""

    def convert(text: str) -> Any:
        try:
            return check(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"expected {error}, found {text!r}") from None

    return convert


def _one_name(text: str) -> str:
    (found,) = names(text)
    return str(found)


def _destination(section: str, key: str) -> str:
    return f"setting_{section}_{key}"


def _shown_default(item: "Field[Any]") -> str:
    value = item.default
    if value is None or value is MISSING or value == "":
        return ""
    if isinstance(value, bool):
        value = str(value).lower()
    return f" (default {','.join(map(str, value)) if isinstance(value, tuple) else value})"
