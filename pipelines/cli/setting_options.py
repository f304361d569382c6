"""Options of the command line from declared settings: name, check, text and default come from the declaration."""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields
from typing import Any

from fiqa_core.settings.checks import Check, names, switch
from fiqa_core.settings.fields import declared
from fiqa_core.settings.yaml_file import Values
from pipelines.cli.parser import Parser


def add_option(
    parser: Parser, group: argparse._ArgumentGroup, section: str, item: "Field[Any]", default: str = "", **more: Any
) -> None:
    """Add the option of a setting that has one: `--NAME` and `--no-NAME` for a switch. `more` goes to argparse.

    Args:
        default: what --help says happens without the option; "": the default of the declaration.
    """
    found = declared(item)
    if not found.flag:
        return
    destination = setting_destination(section, item.name)
    choices: tuple[str, ...] = getattr(found.check, "words", ())
    words = f" ({', '.join(choices)})" if choices and found.argument != "|".join(choices) else ""
    if "default" not in found.text:
        words += f" (default: {default or _shown_default(item)})"
    text = f"{found.text}{words}".replace("%", "%%")
    if found.check is switch:
        parser.add_switch(group, found.flag, dest=destination, default=argparse.SUPPRESS, help=text)
        return
    if found.check is names:
        more = {"nargs": "+", **more}
    more = {"type": from_text(_one_name if found.check is names else found.check), **more}
    group.add_argument(
        found.flag,
        dest=destination,
        metavar=found.argument,
        default=argparse.SUPPRESS,
        help=text,
        **more,
    )


def given_settings(arguments: argparse.Namespace, sections: Mapping[str, Any]) -> Values:
    """The checked settings that were given as options, by section and name."""
    given = vars(arguments)
    values: Values = {}
    for section, kind in sections.items():
        for item in fields(kind):
            if (destination := setting_destination(section, item.name)) in given:
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


def setting_destination(section: str, key: str) -> str:
    """Under what name the parsed command line has a setting."""
    return f"setting_{section}_{key}"


def _shown_default(item: "Field[Any]") -> str:
    value = item.default
    if value is None or value is MISSING or value in ("", ()):
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
