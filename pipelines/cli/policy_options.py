"""The options of a policy on the command line: one for each setting of the YAML file, which they override."""

import argparse
from dataclasses import fields
from typing import Any

from fiqa_core.curation.decisions.policy import SECTIONS, Policy
from fiqa_core.curation.decisions.policy_fields import Choice, PolicyError, Recognised, from_text, recognised
from fiqa_core.curation.decisions.policy_file import apply, read_policy
from pipelines.cli.command import named

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


def add_policy_options(parser: argparse.ArgumentParser) -> None:
    """Add --policy and an option for every setting."""
    parser.add_argument(
        "--policy", type=named, metavar="FILE", help="policy in YAML (docs/curation.md); options override it"
    )
    for section, kind in SECTIONS.items():
        group = parser.add_argument_group(_TITLES[section])
        for item in fields(kind):
            details = item.metadata
            choices = f" ({', '.join(details['check'].words)})" if isinstance(details["check"], Choice) else ""
            # What has limits of its own may also be asked for by its name alone.
            alone: dict[str, Any] = {"nargs": "?", "const": Recognised()} if details["check"] is recognised else {}
            group.add_argument(
                details["flag"],
                dest=_dest(section, item.name),
                type=from_text(details["check"]),
                metavar=details["argument"],
                default=argparse.SUPPRESS,
                help=(details["text"] + choices).replace("%", "%%"),
                **alone,
            )


def policy_of(arguments: argparse.Namespace) -> Policy:
    """The policy that the command line describes.

    Raises:
        PolicyError: the file, or file and options together, are no policy.
    """
    policy = read_policy(arguments.policy) if arguments.policy is not None else Policy()
    given = vars(arguments)
    values: dict[str, dict[str, Any]] = {}
    for section, kind in SECTIONS.items():
        for item in fields(kind):
            if _dest(section, item.name) in given:
                values.setdefault(section, {})[item.name] = given[_dest(section, item.name)]
    try:
        return apply(policy, values)
    except PolicyError as error:
        raise PolicyError(f"{arguments.policy or 'the options'}: {error}") from error


def _dest(section: str, key: str) -> str:
    return f"policy_{section}_{key}"
