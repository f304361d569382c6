"""Policies from a YAML file and from single settings; what is wrong is named with its file, line and section."""

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from typing import Any

import yaml

from fiqa_core.curation.decisions.policy import SECTIONS, Policy
from fiqa_core.curation.decisions.policy_fields import PolicyError
from fiqa_core.storage import is_folder, read_bytes, stat
from schemas.versions import POLICY_VERSION

_OLD_NUMBER = re.compile(r"[-+]?(0[0-9_]+|0[xb][0-9a-fA-F_]+|[0-9_]+(:[0-9_.]+)+)")
_MOST_BYTES = 1 << 20


def read_policy(url: str) -> Policy:
    """The policy that a YAML file describes; what it does not name has its default.

    Raises:
        PolicyError: not there, no YAML, an unknown section or key (with the nearest known one), a bad value.
    """
    found = stat(url)
    if found is None and is_folder(url):
        raise PolicyError(f"{url}: a folder. Expected a policy in YAML (docs/curation.md).")
    if found is None:
        raise PolicyError(f"{url}: no such file. Expected a policy in YAML (docs/curation.md).")
    if found.size > _MOST_BYTES:
        raise PolicyError(f"{url}: {found.size} bytes are no policy; expected a small YAML file (docs/curation.md).")
    return parse_policy(read_bytes(url), url)


def parse_policy(data: bytes, name: str) -> Policy:
    """The policy in the bytes of a YAML file; `name` is what errors call it."""
    try:
        root = yaml.compose(data.decode("utf-8-sig"), Loader=yaml.SafeLoader)
    except UnicodeDecodeError as error:
        raise PolicyError(f"{name}: no UTF-8 text ({error.reason} at byte {error.start}).") from error
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark is not None else ""
        # What stands in quotes in it is the file's own text.
        problem = re.sub(r"\s*['\"`].*", "", getattr(error, "problem", None) or type(error).__name__)
        raise PolicyError(f"{name}{place}: no YAML ({problem}).") from error
    _refuse_what_is_no_policy(root, name)
    values: dict[str, dict[str, Any]] = {}
    for section, node, line in _entries(root, name, "the policy"):
        if section == "version":
            _check_version(_plain(node, name), f"{name}, line {line}")
            continue
        known = _known_section(section, f"{name}, line {line}")
        values[known] = {}
        for key, value, at in _entries(node, f"{name}, line {line}", f"section {known}"):
            values[known][key] = checked(known, key, _plain(value, name), f"{name}, line {at}")
    try:
        return apply(Policy(), values)
    except PolicyError as error:
        raise PolicyError(f"{name}: {error}") from error


def _refuse_what_is_no_policy(root: yaml.Node | None, name: str) -> None:
    """Refuse a file without any name of a policy, unless all are misspelt ones: it may be any file."""
    names = [key for key, _, _ in _entries(root, name, "the policy")] if root is not None else []
    known = [*SECTIONS, "version", *(item.name for kind in SECTIONS.values() for item in fields(kind))]
    if names and set(known).isdisjoint(names) and not all(_nearest(word[:100], dict.fromkeys(known)) for word in names):
        raise PolicyError(f"{name}: none of its {len(names)} names is of a policy. Known: {', '.join(SECTIONS)}.")


def apply(policy: Policy, values: Mapping[str, Mapping[str, Any]]) -> Policy:
    """The policy with some settings replaced; `values` are checked ones, by section and key."""
    changed = {name: replace(getattr(policy, name), **keys) for name, keys in values.items()}
    return replace(policy, **changed)


def checked(section: str, key: str, value: Any, where: str) -> Any:
    """One setting's value in its own type.

    Raises:
        PolicyError: no such key, or a value that it cannot have.
    """
    known = {item.name: item for item in fields(SECTIONS[section])}
    if key not in known:
        raise PolicyError(f"{where}: {section} has no key {key!r}.{_nearest(key, known)} Known: {', '.join(known)}.")
    try:
        return known[key].metadata["check"](value)
    except ValueError as error:
        raise PolicyError(f"{where}: {section}: {key} is {value!r}; expected {error}.") from None


def _known_section(section: str, where: str) -> str:
    if section in SECTIONS:
        return section
    home = [name for name, kind in SECTIONS.items() if section in {item.name for item in fields(kind)}]
    if home:
        raise PolicyError(f"{where}: {section!r} is a key of the section {home[0]!r}; write it below `{home[0]}:`.")
    raise PolicyError(
        f"{where}: no section is called {section!r}.{_nearest(section, SECTIONS)} Known: {', '.join(SECTIONS)}."
    )


def _check_version(version: Any, where: str) -> None:
    if type(version) is not int or version != POLICY_VERSION:
        raise PolicyError(f"{where}: policy version {version!r}; this program reads version {POLICY_VERSION}.")


def _nearest(word: str, known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(word, list(known), 1)
    return f" Did you mean {close[0]!r}?" if close else ""


def _entries(node: yaml.Node | None, where: str, what: str) -> Iterator[tuple[str, yaml.Node, int]]:
    """Key, value and line of each entry of a mapping; nothing where it is empty."""
    if node is None or (isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"):
        return
    if not isinstance(node, yaml.MappingNode):
        raise PolicyError(f"{where}: {what} must be a mapping (`key: value` lines), found {node.id}.")
    seen: set[str] = set()
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise PolicyError(f"{where}: {what}: line {line}: a key must be a word.")
        if key.value in seen:
            raise PolicyError(f"{where}: {what}: line {line}: {key.value[:50]!r} is there twice.")
        seen.add(key.value)
        yield key.value, value, line


def _plain(node: yaml.Node, name: str) -> Any:
    """The value of a scalar, of a list of scalars, or of a mapping of them."""
    if isinstance(node, yaml.MappingNode):
        where = f"{name}, line {node.start_mark.line + 1}"
        return {key: _plain(value, name) for key, value, _ in _entries(node, where, "the value")}
    if isinstance(node, yaml.SequenceNode):
        nested = [item for item in node.value if not isinstance(item, yaml.ScalarNode)]
        if nested:
            line = nested[0].start_mark.line + 1
            raise PolicyError(f"{name}, line {line}: expected plain values in a list, found {nested[0].id}.")
        return [_plain(item, name) for item in node.value]
    if not isinstance(node, yaml.ScalarNode):
        raise PolicyError(f"{name}, line {node.start_mark.line + 1}: expected a value or a list, found {node.id}.")
    if not node.style and _OLD_NUMBER.fullmatch(node.value):
        # YAML 1.1 reads 010 as 8 and 1:30 as 90; nobody who writes a policy means that.
        raise PolicyError(f"{name}, line {node.start_mark.line + 1}: {node.value!r}: write a plain decimal number.")
    try:
        return yaml.SafeLoader("").construct_object(node)
    except (yaml.YAMLError, ValueError) as error:
        raise PolicyError(f"{name}, line {node.start_mark.line + 1}: {node.value!r} is no plain value.") from error
