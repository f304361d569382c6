"""The command line of clean_dataset: options for what is asked for most, a recipe for everything."""

import argparse
from dataclasses import fields

from fiqa_core.curation.decisions.policy import SECTIONS as POLICY_SECTIONS
from fiqa_core.curation.decisions.policy_file import read_policy
from fiqa_core.curation.recipe.sections import SECTIONS, policy_key
from fiqa_core.settings.fields import declared
from fiqa_core.settings.yaml_file import Values
from pipelines.cli.command import named
from pipelines.cli.parser import Parser
from pipelines.cli.setting_options import add_option, given_settings

_TITLES = {
    "data": "data",
    "score": "scoring",
    "embed": "face recognition network",
    "decide": "decisions",
    "subset": "writing",
    "report": "report",
    "run": "running",
}
# The rules that are asked for most; all are in the recipe.
_RULES = {
    "labels": ("drop_wrong",),
    "duplicates": ("exact", "near"),
    "quality": ("min", "drop_fraction", "keep_at_least", "max_predicted_fnmr"),
    "size": ("min_per_identity",),
}

_USUAL = (
    *("--recipe", "--input", "--output", "--model", "--network", "--align", "--embedding-model", "--embedding-network"),
    *("--review", "--policy", "--drop-wrong-labels", "--exact-duplicates", "--near-duplicates", "--min-quality"),
    *("--keep-at-least", "--max-predicted-fnmr", "--min-per-identity", "--write", "--write-dropped", "--device"),
    *("--workers", "--yes", "--dry-run"),
)


def make_parser() -> Parser:
    """Every option of the command."""
    parser = Parser(
        "clean_dataset",
        "Clean a dataset by one recipe: score, embed (where a network is named), find wrong labels and duplicates, "
        "decide, report, and, after an account and a yes, write the kept images.",
        [
            "--input 'shards/*.tar' --output cleaned --embedding-model recognition.onnx",
            "--recipe cleaned/recipe.yaml",
        ],
        [
            "Without options it is cautious: exact copies and what cannot be decoded go, and the account says what "
            "each further rule would take. The recipe, with every setting, is OUTPUT/recipe.yaml: edit it and run it "
            "again. Options stand above the recipe. Every stage goes on from where it stopped. docs/clean.md.",
            "Exit code: 0 done, every record is accounted for; 2 bad input or option, or a stage broke off; 3 "
            "finished, but shards could not be read or images not written; 4 a bug; 5 no yes, so no image was written; "
            "130 interrupted. docs/exit_codes.md.",
        ],
        passes_on=False,
        usual=_USUAL,
    )
    recipe = parser.add_argument_group("recipe")
    recipe.add_argument(
        "--recipe",
        type=named,
        metavar="FILE",
        help="a recipe as a YAML file (default: that in --output, if it is there, else the cautious one)",
    )
    for section, title in _TITLES.items():
        group = parser.add_argument_group(title)
        for item in fields(SECTIONS[section]):
            # The words of these are those of the other commands' options, which argparse checks.
            words = getattr(declared(item).check, "words", ()) if item.name in ("format", "write") else ()
            add_option(parser, group, section, item, **({"choices": words} if words else {}))
        if section == "decide":
            _add_rules(parser, group)
        if section == "run":
            _add_running(group)
    return parser


def settings_of(arguments: argparse.Namespace) -> Values:
    """The checked settings that were given as options, by section of a recipe.

    Raises:
        SettingError: the file of --policy cannot be used.
    """
    kinds = SECTIONS | {policy_key(name): kind for name, kind in POLICY_SECTIONS.items()}
    values = given_settings(arguments, kinds)
    if arguments.policy is not None:
        policy = read_policy(arguments.policy)
        for name, kind in POLICY_SECTIONS.items():
            section = getattr(policy, name)
            whole = {item.name: getattr(section, item.name) for item in fields(kind)}
            values[policy_key(name)] = whole | values.get(policy_key(name), {})
    return values


def _add_rules(parser: Parser, group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--policy",
        type=named,
        metavar="FILE",
        help="a policy of fiqa filter in place of that of the recipe (default: none)",
    )
    for section, names in _RULES.items():
        for item in fields(POLICY_SECTIONS[section]):
            if item.name in names:
                default = "all" if (section, item.name) == ("duplicates", "exact") else ""
                add_option(parser, group, policy_key(section), item, default)


def _add_running(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--yes", action="store_true", help="write the images without a question")
    group.add_argument(
        "--dry-run", action="store_true", help="say what the stages are and what would be read; nothing is written"
    )
    group.add_argument("--resume", action="store_true", help="what this command does in any case: go on")
