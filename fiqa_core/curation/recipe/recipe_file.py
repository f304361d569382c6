"""A recipe as a YAML file: read with file and line in every error, and written complete, with what each key means."""

import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields, replace
from typing import Any

import yaml

from fiqa_core.curation.decisions.policy import SECTIONS as POLICY_SECTIONS
from fiqa_core.curation.recipe.sections import ORDER, POLICY, SECTIONS, Recipe, cautious_policy, policy_key
from fiqa_core.models import EMBEDDED
from fiqa_core.settings.fields import SettingError, declared, replaced
from fiqa_core.settings.yaml_file import FileKind, Values, located, parse_settings, read_file, refuse_missing
from fiqa_core.storage import absolute
from schemas.versions import POLICY_VERSION

RECIPE = "recipe.yaml"
# A calibration, and a network, that are no files of the user's.
OWN_CALIBRATION = "embedded"
IN_THE_PACKAGE = frozenset({OWN_CALIBRATION, "embedded-mixed", EMBEDDED})
_VERSION = 1
_KIND = FileKind(
    "recipe",
    SECTIONS,
    "docs/clean.md",
    _VERSION,
    {POLICY: FileKind("policy", POLICY_SECTIONS, "docs/curation.md", POLICY_VERSION)},
)
_WIDTH = 100
_TITLES = {
    "data": "what is cleaned, and where the results go",
    "score": "stage: score every image (fiqa score)",
    "embed": "stage: embed every image (fiqa embed); left out where neither model nor network is named",
    POLICY: "which images go (docs/curation.md). The default drops exact copies and what cannot be read, nothing else",
    "decide": "stage: findings and decisions (fiqa filter)",
    "subset": "stage: the kept images, byte for byte; written after the account and a yes",
    "report": "stage: a page with faces (fiqa report)",
    "run": "how the stages run on this machine",
}
# A user name with a password, and parameters of an address that give access.
_USER = re.compile(r"(?<=://)[^/@?#]*@")
_SIGNED = re.compile(r"(?i)[?&#][^=&#]*(sig|token|key|secret|passw|credential|auth|session)[^=&#]*=")


def read_recipe(url: str, given: Values) -> Recipe:
    """The recipe in a file, with settings that were given as options in place of those of the file.

    Raises:
        SettingError: the file is not there or not YAML, an unknown section or name (with the nearest known one), a bad
            value, settings that contradict each other; with file and line.
    """
    return parse_recipe(read_file(url, _KIND), url, given)


def parse_recipe(data: bytes, name: str, given: Values) -> Recipe:
    """The recipe in the bytes of a YAML file; `name` is what errors call it."""
    values = parse_settings(data, name, _KIND)
    try:
        return new_recipe(values, given)
    except SettingError as error:
        raise located(error, data, name, _KIND) from error


def new_recipe(values: Values, given: Values) -> Recipe:
    """A recipe of checked values by section (of the policy: `policy.section`); `given` override the others.

    Raises:
        SettingError: a required setting is missing, or settings contradict each other.
    """
    whole = {name: values.get(name, {}) | given.get(name, {}) for name in dict.fromkeys([*values, *given])}
    refuse_missing({name: keys for name, keys in whole.items() if name in SECTIONS}, _KIND, ())
    policy = {name: whole[policy_key(name)] for name in POLICY_SECTIONS if policy_key(name) in whole}
    sections = {name: kind(**whole.get(name, {})) for name, kind in SECTIONS.items()}
    return Recipe(**sections, policy=replaced(cautious_policy(), policy))


def with_line(error: SettingError, url: str) -> SettingError:
    """An error about a section of a recipe (its message begins with the section's name), with file and line."""
    return located(error, read_file(url, _KIND), url, _KIND)


def located_everywhere(recipe: Recipe) -> Recipe:
    """The recipe with absolute places, so that it can be run again from any folder."""
    data, score, embed, decide = recipe.data, recipe.score, recipe.embed, recipe.decide
    return replace(
        recipe,
        data=replace(data, input=tuple(map(absolute, data.input)), output=absolute(data.output)),
        score=replace(score, model=_absolute(score.model), calibration=_absolute(score.calibration)),
        embed=replace(embed, model=_absolute(embed.model)),
        decide=replace(
            decide,
            review=_absolute(decide.review),
            labels=_absolute(decide.labels),
            against=tuple(map(absolute, decide.against)),
        ),
    )


def _absolute(place: str | None) -> str | None:
    return place if place is None or place in IN_THE_PACKAGE else absolute(place)


def without_secrets(uri: str) -> str:
    """An address without user name and password, and without parameters that give access."""
    if "://" not in uri:
        return uri
    plain = _USER.sub("", uri)
    return re.split(r"[?#]", plain, maxsplit=1)[0] if _SIGNED.search(plain) else plain


def to_yaml(recipe: Recipe) -> str:
    """The whole recipe as YAML with a comment for each key; `parse_recipe` reads an equal one from it."""
    lines = [
        "# Recipe of fiqa clean (docs/clean.md). Edit it and run it again:",
        "#   fiqa clean --recipe THIS_FILE",
        "# Stages whose settings and input did not change are kept; changed ones, and what depends on them, are done",
        "# again.",
        f"version: {_VERSION}",
    ]
    for section in ORDER:
        lines += ["", f"# {_TITLES[section]}", f"{section}:"]
        if section == POLICY:
            plain = recipe.policy.to_dict()
            for name, kind in POLICY_SECTIONS.items():
                lines += [f"  {name}:", *_keys(kind, plain[name], "    ")]
        else:
            lines += _keys(SECTIONS[section], asdict(getattr(recipe, section)), "  ")
    return "\n".join(lines) + "\n"


def _keys(kind: Any, values: Mapping[str, Any], indent: str) -> Iterator[str]:
    for item in fields(kind):
        text = declared(item).text
        yield from (f"{indent}# {line}" for line in textwrap.wrap(text, _WIDTH - len(indent)))
        choices = getattr(declared(item).check, "words", ())
        if choices:
            yield f"{indent}# one of: " + ", ".join(word or "''" for word in choices)
        value = values[item.name]
        if _plain(value) != (list(value) if isinstance(value, tuple) else value):
            option = declared(item).flag or "it"
            yield f"{indent}# What gives access is left out (a user name, a signature): give {option} with it."
        yield f"{indent}{item.name}: {_flow(value)}"


def _flow(value: Any) -> str:
    """A value as YAML on one line."""
    listed = yaml.safe_dump([_plain(value)], default_flow_style=True, allow_unicode=True, width=10**6, sort_keys=False)
    return str(listed).strip()[1:-1]


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return without_secrets(value) if isinstance(value, str) else value
