"""Settings from a YAML file: what is wrong is named with its file, line and section."""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

import yaml

from fiqa_core.settings.fields import SettingError, checked, declared
from fiqa_core.storage import is_folder, read_bytes, stat

Values = dict[str, dict[str, Any]]
_OLD_NUMBER = re.compile(r"[-+]?(0[0-9_]+|0[xb][0-9a-fA-F_]+|[0-9_]+(:[0-9_.]+)+)")
_MOST_BYTES = 1 << 20


@dataclass(frozen=True)
class FileKind:
    """A kind of settings file.

    Attributes:
        noun: what errors call such a file, such as "policy". sections: a dataclass of declared fields for each name.
        described: where a person finds more. version: what the key `version` must be; None: the file has no such key.
        groups: names whose value is itself a mapping of sections; a section of it is called `group.section` below.
    """

    noun: str
    sections: Mapping[str, Any]
    described: str
    version: int | None = None
    groups: Mapping[str, "FileKind"] = field(default_factory=dict)


@dataclass(frozen=True)
class _Source:
    """Where nodes come from: a file, whose lines are named, or an option, which is one line."""

    name: str
    is_file: bool = True

    def at(self, node: yaml.Node) -> str:
        return f"{self.name}, line {node.start_mark.line + 1}" if self.is_file else self.name


def read_file(url: str, kind: FileKind) -> bytes:
    """The bytes of a settings file.

    Raises:
        SettingError: the file is not there, or too large for settings.
    """
    expected = f"Expected a {kind.noun} in YAML ({kind.described})."
    found = stat(url)
    if found is None:
        raise SettingError(f"{url}: {'a folder' if is_folder(url) else 'no such file'}. {expected}")
    if found.size > _MOST_BYTES:
        raise SettingError(f"{url}: {found.size:,} bytes are too many for settings. {expected}")
    return read_bytes(url)


def parse_settings(data: bytes, name: str, kind: FileKind) -> Values:
    """The checked values in the bytes of a YAML file, by section and name; `name` is what errors call the file.

    Raises:
        SettingError: it is not YAML, an unknown section or name (with the nearest known one), a name that occurs
            twice, a bad value.
    """
    try:
        content = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SettingError(f"{name}: not valid UTF-8 ({error.reason} at byte {error.start}).") from error
    source = _Source(name)
    root = _composed(content, source)
    if root is None or _is_null(root):
        return {}
    entries = list(_entries(root, source, f"the {kind.noun}"))
    _refuse_another_kind_of_file([key for key, _, _ in entries], name, kind)
    values: Values = {}
    for section, node, where in entries:
        if section == "version" and kind.version is not None:
            _check_version(_plain(node, source), where, kind)
            continue
        if section in kind.groups:
            values |= _group(section, node, source, kind.groups[section])
            continue
        _refuse_unknown_section(section, where, kind)
        if not _is_null(node):
            values[section] = _section(section, node, source, kind)
    return values


def override(values: Values, given: str, kind: FileKind) -> Values:
    """The values with one replaced, as `--set section.name=value` gives it, or `section={...}` for all of a section.

    Raises:
        SettingError: as `parse_settings`; the option is named in the place of file and line.
    """
    path, equals, content = given.partition("=")
    section, dot, key = path.strip().partition(".")
    source = _Source(f"--set {given}", is_file=False)
    if not equals:
        raise SettingError(f"{source.name}: expected section.name=value, such as optimiser.lr=3e-4.")
    node = _composed(content, source)
    _refuse_unknown_section(section, source.name, kind)
    if dot:
        value = None if node is None else _plain(node, source)
        return values | {section: values.get(section, {}) | {key: _checked(section, key, value, source.name, kind)}}
    if node is None or _is_null(node):
        return {name: keys for name, keys in values.items() if name != section}
    return values | {section: _section(section, node, source, kind)}


def refuse_missing(values: Values, kind: FileKind, optional_sections: Sequence[str]) -> None:
    """Refuse values that lack a required one; a section of `optional_sections` may be left out as a whole.

    Raises:
        SettingError: it names each, with its option.
    """
    missing = [
        f"{section}.{item.name}" + (f" ({declared(item).flag})" if declared(item).flag else "")
        for section, kinds in kind.sections.items()
        if section in values or section not in optional_sections
        for item in fields(kinds)
        if item.default is MISSING and item.name not in values.get(section, {})
    ]
    if missing:
        raise SettingError(f"{', '.join(missing)} must be given.")


def located(error: SettingError, data: bytes, name: str, kind: FileKind) -> SettingError:
    """An error about a whole section (its message begins with the section's name), with the file and its line there."""
    section = re.split(r"[.:]", str(error), maxsplit=1)[0]
    root = _composed(data.decode("utf-8-sig"), _Source(name))
    source = _Source(name)
    entries = list(_entries(root, source, f"the {kind.noun}")) if root else []
    lines: dict[str, str] = {}
    for key, node, _ in entries:
        if key in kind.groups and not _is_null(node):
            lines |= {below: where for below, _, where in _entries(node, source, key)}
    lines |= {key: where for key, _, where in entries}
    return SettingError(f"{lines.get(section, name)}: {error}")


def _section(section: str, node: yaml.Node, source: _Source, kind: FileKind) -> dict[str, Any]:
    entries = _entries(node, source, f"section {section}")
    return {key: _checked(section, key, _plain(value, source), where, kind) for key, value, where in entries}


def _group(group: str, node: yaml.Node, source: _Source, kind: FileKind) -> Values:
    values: Values = {}
    for section, content, where in () if _is_null(node) else _entries(node, source, group):
        if section == "version" and kind.version is not None:
            _check_version(_plain(content, source), where, kind)
            continue
        _refuse_unknown_section(section, where, kind)
        if not _is_null(content):
            values[f"{group}.{section}"] = _section(section, content, source, kind)
    return values


def _checked(section: str, key: str, value: Any, where: str, kind: FileKind) -> Any:
    known = {item.name: item for item in fields(kind.sections[section])}
    if key not in known:
        raise SettingError(
            f"{where}: {section} has no key {key[:50]!r}.{_nearest(key[:100], known)} Known: {', '.join(known)}."
        )
    return checked(section, known[key], value, where)


def _refuse_unknown_section(section: str, where: str, kind: FileKind) -> None:
    if section in kind.sections:
        return
    group = next((name for name, inner in kind.groups.items() if section in inner.sections), None)
    if group is not None:
        raise SettingError(f"{where}: {section!r} belongs to {group!r}; write it below `{group}:`.")
    known = [*kind.sections, *kind.groups]
    home = [name for name, kinds in kind.sections.items() if section in {item.name for item in fields(kinds)}]
    if home:
        raise SettingError(f"{where}: {section!r} is a key of the section {home[0]!r}; write it below `{home[0]}:`.")
    raise SettingError(
        f"{where}: no section is called {section[:50]!r}.{_nearest(section[:100], known)} Known: {', '.join(known)}."
    )


def _refuse_another_kind_of_file(names: Sequence[str], name: str, kind: FileKind) -> None:
    """Refuse a file without any known name, unless all are misspelt ones: it may be any file, so nothing is quoted."""
    known = [
        *kind.sections,
        *kind.groups,
        "version",
        *(item.name for kinds in kind.sections.values() for item in fields(kinds)),
    ]
    if names and set(known).isdisjoint(names) and not all(_nearest(word[:100], known) for word in names):
        raise SettingError(
            f"{name}: none of its {len(names)} names belongs to a {kind.noun}. Known: {', '.join(kind.sections)}."
        )


def _check_version(version: Any, where: str, kind: FileKind) -> None:
    if type(version) is not int or version != kind.version:
        raise SettingError(f"{where}: {kind.noun} version {version!r}; this program reads version {kind.version}.")


def _nearest(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), 1)
    return f" Did you mean {close[0]!r}?" if close else ""


def _composed(content: str, source: _Source) -> yaml.Node | None:
    try:
        return yaml.compose(content, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark is not None and source.is_file else ""
        # Quoted text in the message is the file's own, and the file may be any file.
        problem = re.sub(r"\s*['\"`].*", "", getattr(error, "problem", None) or type(error).__name__)
        if isinstance(error, RecursionError):
            problem = "nested too deeply"
        raise SettingError(f"{source.name}{place}: not valid YAML ({problem}).") from error


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"


def _entries(node: yaml.Node, source: _Source, what: str) -> Iterator[tuple[str, yaml.Node, str]]:
    """Key, value, and the key's place for errors, of each entry of a mapping."""
    if not isinstance(node, yaml.MappingNode):
        raise SettingError(f"{source.at(node)}: {what} must be a mapping (`key: value` lines), found {_noun(node)}.")
    seen: set[str] = set()
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise SettingError(f"{source.at(key)}: {what}: a key must be a word, found {_noun(key)}.")
        if key.value in seen:
            raise SettingError(f"{source.at(key)}: {what}: {key.value[:50]!r} occurs twice.")
        seen.add(key.value)
        yield key.value, value, source.at(key)


def _plain(node: yaml.Node, source: _Source) -> Any:
    """The value of a scalar, of a list of scalars, or of a mapping of scalars."""
    if isinstance(node, yaml.MappingNode):
        return {key: _scalar(value, source) for key, value, _ in _entries(node, source, "the value")}
    if isinstance(node, yaml.SequenceNode):
        return [_scalar(item, source) for item in node.value]
    return _scalar(node, source)


def _scalar(node: yaml.Node, source: _Source) -> Any:
    # Nothing is nested deeper, so aliases cannot make a small file a large value.
    if not isinstance(node, yaml.ScalarNode):
        raise SettingError(f"{source.at(node)}: expected a plain value, found {_noun(node)}.")
    if not node.style and _OLD_NUMBER.fullmatch(node.value):
        # YAML 1.1 reads 010 as 8 and 1:30 as 90; nobody who writes settings means that.
        raise SettingError(f"{source.at(node)}: {node.value[:50]!r}: write a plain decimal number.")
    try:
        return yaml.SafeLoader("").construct_object(node)
    except (yaml.YAMLError, ValueError) as error:
        raise SettingError(f"{source.at(node)}: {node.value[:50]!r} is not a plain value.") from error


def _noun(node: yaml.Node) -> str:
    return {"mapping": "a mapping", "sequence": "a list"}.get(node.id, "a single value")
