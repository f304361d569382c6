"""The options of a policy on the command line: one for each setting of the YAML file, which they override."""

import argparse
from dataclasses import fields
from typing import Any

from fiqa_core.curation.decisions.policy import SECTIONS, Policy
from fiqa_core.curation.decisions.policy_file import read_policy
from fiqa_core.curation.decisions.recognised_limits import Recognised, recognised
from fiqa_core.curation.decisions.written_conditions import condition, conditions
from fiqa_core.settings.fields import SettingError, declared, replaced
from pipelines.cli.command import named
from pipelines.cli.parser import Parser
from pipelines.cli.setting_options import add_option, from_text, given_settings

_TITLES = {
    "labels": "policy: labels",
    "near": "policy: what is nearly the same picture",
    "overlap": "policy: overlap with --against",
    "duplicates": "policy: duplicates",
    "quality": "policy: quality",
    "size": "policy: size",
    "tiers": "policy: tiers",
    "weights": "policy: weights",
}


def add_policy_options(parser: Parser) -> None:
    """Add --policy and an option for every setting."""
    parser.add_argument_group("policy").add_argument(
        "--policy",
        type=named,
        metavar="FILE",
        help="policy as a YAML file (docs/curation.md); the options below override it (default: only these options)",
    )
    for section, kind in SECTIONS.items():
        group = parser.add_argument_group(_TITLES[section])
        for item in fields(kind):
            # What has limits of its own may also be asked for by its name alone.
            alone: dict[str, Any] = {}
            if declared(item).check is conditions:
                alone = {"action": "append", "type": from_text(condition)}
            if declared(item).check is recognised:
                alone = {"nargs": "?", "const": Recognised()}
            add_option(parser, group, section, item, **alone)


def policy_of(arguments: argparse.Namespace) -> Policy:
    """The policy that the command line describes.

    Raises:
        SettingError: the file, or file and options together, are not a valid policy.
    """
    policy = read_policy(arguments.policy) if arguments.policy is not None else Policy()
    try:
        return replaced(policy, given_settings(arguments, SECTIONS))
    except SettingError as error:
        raise SettingError(f"{arguments.policy or 'the options'}: {error}") from error
