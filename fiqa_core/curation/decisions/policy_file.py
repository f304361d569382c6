"""Policies from YAML files."""

from fiqa_core.curation.decisions.policy import SECTIONS, Policy
from fiqa_core.settings.fields import SettingError, replaced
from fiqa_core.settings.yaml_file import FileKind, located, parse_settings, read_file
from schemas.versions import POLICY_VERSION

_KIND = FileKind("policy", SECTIONS, "docs/curation.md", POLICY_VERSION)


def read_policy(url: str) -> Policy:
    """The policy that a YAML file describes; settings that it does not name have their defaults.

    Raises:
        SettingError: the file is not there or not YAML, an unknown section or name (with the nearest known one), a bad
            value, settings that contradict each other.
    """
    return parse_policy(read_file(url, _KIND), url)


def parse_policy(data: bytes, name: str) -> Policy:
    """The policy in the bytes of a YAML file; `name` is what errors call it."""
    values = parse_settings(data, name, _KIND)
    try:
        return replaced(Policy(), values)
    except SettingError as error:
        raise located(error, data, name, _KIND) from error
