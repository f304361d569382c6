"""How a setting is declared: a dataclass field that knows its default, its check, its text and its option.

A dataclass of such fields is a *section* of a settings file. The YAML reader (yaml_file.py), the command line
(pipelines/cli/setting_options.py) and the dataclass itself all go by this one declaration.
"""

import reprlib
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from typing import Any, TypeVar

from fiqa_core.errors import FiqaError
from fiqa_core.settings.checks import Check

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 80
_Whole = TypeVar("_Whole")


class SettingError(FiqaError, ValueError):
    """A setting cannot be used as given; the message says where it stands, what was found and what was expected."""


@dataclass(frozen=True)
class Declared:
    """What is known of a setting besides its name, type and default.

    Attributes:
        check: gives the value in its own type, or raises ValueError with what was expected.
        text: what the setting does, in one sentence; shown by --help. flag: its option, "" for none.
        argument: how the value is shown in --help.
    """

    check: Check
    text: str
    flag: str = ""
    argument: str = "N"


def setting(default: Any, check: Check, text: str, flag: str = "", argument: str = "N") -> Any:
    """A field of a section; see `Declared`. `default` MISSING: the setting must be given."""
    return field(default=default, metadata={"setting": Declared(check, text, flag, argument)})


def required(check: Check, text: str, flag: str = "", argument: str = "N") -> Any:
    """A field of a section that has no default."""
    return setting(MISSING, check, text, flag, argument)


def same_as(section: Any, name: str) -> Any:
    """A field with the declaration of another section's field: both have one default, one check and one text."""
    found = next(item for item in fields(section) if item.name == name)
    return field(default=found.default, metadata=found.metadata)


def declared(item: "Field[Any]") -> Declared:
    """The declaration of a field made by `setting`."""
    found: Declared = item.metadata["setting"]
    return found


def checked(section: str, item: "Field[Any]", value: Any, where: str = "") -> Any:
    """The value in its own type.

    Raises:
        SettingError: a value that the setting cannot have; `where` is the file and line, or the option.
    """
    try:
        return declared(item).check(value)
    except ValueError as error:
        place = f"{where}: " if where else ""
        raise SettingError(f"{place}{section}.{item.name} is {shown(value)}; expected {error}.") from None


def check_all(section: str, values: Any) -> None:
    """Check every field of a section that was made in Python.

    Raises:
        SettingError: the first value that its setting cannot have.
    """
    for item in fields(values):
        checked(section, item, getattr(values, item.name))


def replaced(whole: _Whole, values: Mapping[str, Mapping[str, Any]]) -> _Whole:
    """A dataclass of sections with some settings replaced; `values` are checked ones, by section and name."""
    changed = {name: replace(getattr(whole, name), **keys) for name, keys in values.items()}
    return replace(whole, **changed)  # type: ignore[type-var]


def shown(value: Any) -> str:
    """A value for an error, shortened: an alias in YAML makes a few bytes stand for a billion."""
    return _SHORT.repr(value)
