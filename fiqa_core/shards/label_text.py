"""The text of a label from a sidecar file, a JSON value or a column's value; and which names look like a label's."""

import json
import math
import re
from collections.abc import Iterable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

LABEL_FIELDS = ("label", "identity", "cls", "class", "id", "subject", "person_id", "subject_id")

MARK = b"\xef\xbb\xbf"  # UTF-8's byte order mark, which Windows tools put in front of a text
# UTF-32 first: its little-endian mark begins with UTF-16's.
_OTHER_MARKS = (
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
# Parts of a name, in any case, by which people call an identity.
_IDENTITY_WORDS = frozenset(
    {
        *("actor", "celeb", "celebrity", "class", "cls", "identities", "identity", "individual", "label", "labels"),
        *("people", "person", "pid", "subject", "target", "who"),
    }
)
_OF_A_PERSON = frozenset({"name", "names", "id", "ids"})
_OF_A_FILE = frozenset({"box", "bbox", "count", "file", "image", "img", "landmarks", "path", "quality", "score", "url"})
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+")
_MOST_HINTS = 5
_MOST_DIGITS = 4000
_WHOLE = re.compile(r"-?[0-9]{1,18}\.0")


class Found(NamedTuple):
    """A label, or what was found instead.

    `source`: where the label came from; without a label the fields that look like one, joined by ", ".
    """

    label: str | None
    source: str = ""
    note: str | None = None


def sidecar_text(data: bytes) -> str:
    """The text of a small file: UTF-8 with or without a byte order mark, or UTF-16/32 with one.

    Raises:
        ValueError: any other encoding, or UTF-16 without a mark.
    """
    if data.isascii() and b"\0" not in data:
        return data.decode("ascii")  # most are, and then nothing below applies
    if data.startswith(MARK):
        return data[len(MARK) :].decode("utf-8")
    for mark, encoding in _OTHER_MARKS:
        if data.startswith(mark):
            return data.decode(encoding)
    if b"\0" in data.rstrip(b"\0") and not len(data) % 2 and (not any(data[::2]) or not any(data[1::2])):
        raise ValueError("every other byte is zero, as in UTF-16 without a byte order mark; save it as UTF-8")
    return data.decode("utf-8")


def trimmed(text: str) -> str:
    """The text without white space at its ends, and without the zero bytes that C programs fill texts with."""
    return text.rstrip("\0").strip()


def whole_number(text: str) -> str:
    """`3` for `3.0`, as pandas writes the numbers of a column in which one is missing; other text as it is."""
    return text[:-2] if _WHOLE.fullmatch(text) else text


def is_plain_sidecar(label: str) -> bool:
    """Whether a `.cls` with just this text in it is read as this label."""
    try:
        return bool(label) and whole_number(trimmed(sidecar_text(label.encode()))) == label
    except ValueError:
        return False


def value_text(value: Any) -> str | None:
    """A value of a column or of JSON as text; None for null, NaN, and values that cannot be a label (lists, objects).

    Whole numbers lose their `.0`: pandas turns integers into floats where one is missing, and one identity must stay
    one label.
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value) if value.bit_length() < 3 * _MOST_DIGITS else None
    if isinstance(value, Decimal):
        return _decimal_text(value)
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return str(value)
    if isinstance(value, float):
        if math.isnan(value):
            return None
        return str(int(value)) if value.is_integer() else str(value)
    return None


def json_label(text: str, label_field: str) -> Found:
    """The label in a JSON sidecar: the named field, else the first of `LABEL_FIELDS` in any case, else a bare value.

    Raises:
        ValueError: not JSON, or nested too deeply.
    """
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(value, dict):
        return Found(None) if label_field else Found(value_text(value), ".json")
    unfit = None
    for name in (label_field,) if label_field else names_in(value, LABEL_FIELDS):
        label = value_text(value.get(name))
        if label is not None:
            return Found(label, f".json field {name!r}")
        if isinstance(value.get(name), dict | list):
            unfit = unfit or name
    note = None if unfit is None else f"the .json field {unfit!r} is a list or an object, not a text or number"
    return Found(None, hints(name for name in value if value_text(value[name]) is not None), note)


def names_in(present: Iterable[str], wanted: Iterable[str]) -> list[str]:
    """Those of `wanted` that are present, spelled as they are there: the same spelling first, else any case."""
    there = dict.fromkeys(present)
    folded: Mapping[str, str] | None = None
    found = []
    for name in wanted:
        if name in there:
            found.append(name)
            continue
        if folded is None:
            folded = {each.casefold(): each for each in reversed(there)}
        if name in folded:
            found.append(folded[name])
    return found


def hints(names: Iterable[str]) -> str:
    """Names that look like an identity's, joined by ", "; at most five."""
    return ", ".join([name for name in names if _looks_like_one(name)][:_MOST_HINTS])


def _looks_like_one(name: str) -> bool:
    words = {word.lower() for word in _WORD.findall(name[:100])}
    if words & _OF_A_FILE:
        return False
    return bool(words & _IDENTITY_WORDS) or (bool(words & _OF_A_PERSON) and words != {"id"})


def _decimal_text(value: Decimal) -> str | None:
    if not value.is_finite():
        return None
    return str(int(value)) if value == value.to_integral_value() else format(value.normalize(), "f")
