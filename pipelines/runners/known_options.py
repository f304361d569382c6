"""Refuses options that neither a command nor Beam knows, and proposes the one that may have been meant."""

import argparse
import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions

from pipelines.cli.errors import OptionError
from pipelines.cli.parser import nearest, unknown

_BEAM_LIKENESS = 0.8


def refuse_unknown(arguments: Sequence[str], proposals: Mapping[str, str]) -> None:
    """Refuse options that Beam does not know either; an option of Beam is never proposed for a misspelt one of ours.

    Raises:
        OptionError: it names the option, and what may have been meant.
    """
    parser = _every_beam_option()
    try:
        _, strangers = parser.parse_known_args(list(arguments))
    except argparse.ArgumentError as error:
        raise OptionError(f"{error.argument_name}: {error.message}") from error
    if not strangers:
        return
    option = next((token for token in strangers if token.startswith("-")), strangers[0])
    hint = unknown(option, proposals)
    name = option.partition("=")[0]
    if "_" in name and nearest(name, proposals) is None:
        # Spelt as Beam spells its options, and like none of ours.
        close = difflib.get_close_matches(name, list(parser._option_string_actions), 1, _BEAM_LIKENESS)
        hint += f" Did you mean Beam's {close[0]}?" if close else ""
    raise OptionError(f"{hint} See --help; options of Beam's runners are known too.")


def _every_beam_option() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, conflict_handler="resolve")
    parser.exit_on_error = False

    def add(kind: Any) -> None:
        for child in kind.__subclasses__():
            if "_add_argparse_args" in vars(child):
                child._add_argparse_args(_Lenient(parser))
            add(child)

    add(PipelineOptions)
    return parser


class _Lenient:
    """Beam's option classes add to a parser of Beam's own kind; only `add_argument` matters here."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self._parser = parser

    def add_argument(self, *names: str, **settings: Any) -> None:
        settings.pop("required", None)
        self._parser.add_argument(*names, **settings)

    add_value_provider_argument = add_argument

    def add_argument_group(self, *_: Any, **__: Any) -> "_Lenient":
        return self

    add_mutually_exclusive_group = add_argument_group
