"""The parser of every command: short errors, help in groups with defaults, old spellings, and "did you mean"."""

import argparse
import difflib
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

from fiqa_core.wording import visible
from pipelines.cli.exit_codes import EXIT_BAD_INPUT
from pipelines.cli.program import called

_WIDEST = 110
_SWITCH_WORDS = {"true": True, "on": True, "false": False, "off": False}


class Parser(argparse.ArgumentParser):
    """The options of one command.

    Args:
        command: the name of its module in `pipelines`, such as `score_dataset`.
        description: what it does, in one sentence.
        examples: command lines without the program's name; each is shown in the help and must parse.
        notes: what else the help says, one paragraph each.
        renamed: old spelling -> new spelling of an option. An old one still works, is not shown, and gives a warning.
        passes_on: whether options that this parser does not know are somebody else's; if not, they are refused.
        usual: the options that --help shows, beside those that must be given; --help-all shows all. None: --help shows
            all, too.
    """

    def __init__(
        self,
        command: str,
        description: str,
        examples: Sequence[str],
        notes: Sequence[str] = (),
        renamed: Mapping[str, str] | None = None,
        passes_on: bool = True,
        usual: Sequence[str] | None = None,
    ) -> None:
        prog = called(command)
        shown = [f"  {prog} {example}".rstrip() for example in examples]
        super().__init__(
            prog=prog,
            description=description,
            epilog="\n".join(["examples:", *shown, *(f"\n{note}" for note in notes)]),
            allow_abbrev=False,
            formatter_class=_Help,
        )
        self.examples = tuple(examples)
        self.warnings: list[str] = []
        self._renamed = dict(renamed or {})
        self._switches: dict[str, str] = {}
        self._passes_on = passes_on
        self._given: Sequence[str] = ()
        self._usual = None if usual is None else frozenset(usual)
        self._optionals.title = "general"
        self.add_argument("--help-all", action=_HelpAll, help="show all options and exit")
        self.add_argument("--debug", action="store_true", help="show the trace of every error")

    def add_switch(self, group: argparse._ArgumentGroup, name: str, **settings: Any) -> None:
        """Add `--NAME` and `--no-NAME`; the old spelling `--NAME on|off` gives a warning."""
        group.add_argument(name, action=argparse.BooleanOptionalAction, **settings)
        self._switches[name] = f"--no-{name[2:]}"

    def proposals(self) -> dict[str, str]:
        """The options that a misspelt one may have meant -> what to propose for it."""
        shown = {name: name for action in self._actions for name in action.option_strings if name.startswith("--")}
        return shown | self._renamed

    # argparse's own signature is an overload.
    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[argparse.Namespace, list[str]]:  # type: ignore[override]
        """Parse; the second part is what is passed on."""
        self._given = self._in_new_spelling(sys.argv[1:] if args is None else list(args))
        arguments, rest = super().parse_known_args(self._given, namespace)
        if rest and not self._passes_on:
            self.error(unknown(rest[0], self.proposals()))
        return arguments, rest

    def error(self, message: str) -> NoReturn:
        """End with exit code 2."""
        lines = [f"{self.prog}: {visible(message)}"]
        if "Did you mean" not in message:
            lines += [f"{visible(name)}: did you mean {meant}?" for name, meant in self._misspelt()]
        self.exit(EXIT_BAD_INPUT, "\n".join([*lines, f"All options: {self.prog} --help-all\n"]))

    @property
    def usual(self) -> frozenset[str] | None:
        """The options that --help shows, beside those that must be given; None: all of them."""
        return self._usual

    def format_help(self) -> str:
        """What --help shows: the usual options, and how to see the others."""
        if self._usual is None:
            return self.format_all()
        groups = [_part(group, self._is_usual) for group in self._in_order()]
        shown = sum(len(group.actions) for group in groups)
        hidden = sum(len(group._group_actions) for group in self._in_order()) - shown
        more = f"\n\nThese are the usual options. {hidden} more: {self.prog} --help-all"
        return self._formatted(groups, more)

    def format_all(self) -> str:
        """What --help-all shows: every option."""
        return self._formatted([_part(group, lambda _: True) for group in self._in_order()], "")

    def _in_order(self) -> list[argparse._ArgumentGroup]:
        """The groups, with the general options last."""
        return [group for group in self._action_groups if group is not self._optionals] + [self._optionals]

    def _is_usual(self, action: argparse.Action) -> bool:
        usual = self._usual or frozenset()
        return (
            action.required or action in self._optionals._group_actions or not usual.isdisjoint(action.option_strings)
        )

    def _formatted(self, groups: Sequence["_Part"], more: str) -> str:
        formatter = self._get_formatter()
        formatter.add_usage(self.usage, self._actions, self._mutually_exclusive_groups)
        formatter.add_text(self.description)
        for group in groups:
            if group.actions:
                formatter.start_section(group.title)
                formatter.add_text(group.description)
                formatter.add_arguments(group.actions)
                formatter.end_section()
        formatter.add_text(f"{self.epilog}{more}")
        return formatter.format_help()

    def format_usage(self) -> str:
        """The usage line."""
        return f"usage: {self._short_usage()}\n"

    def _short_usage(self) -> str:
        needed = []
        for action in self._actions:
            if action.required:
                value = str(action.metavar or "|".join(map(str, action.choices or ())))
                more = f" [{value} ...]" if action.nargs == "+" else ""
                needed.append(f"{action.option_strings[0]} {value}{more}")
        return " ".join([self.prog, *needed, "[options]"])

    def _get_formatter(self) -> argparse.HelpFormatter:
        self.usage = self._short_usage()
        return super()._get_formatter()

    def _in_new_spelling(self, given: Sequence[str]) -> list[str]:
        result: list[str] = []
        for token in given:
            if result and result[-1] in self._switches and token.lower() in _SWITCH_WORDS:
                self._switch(result, result.pop(), token)
                continue
            name, equals, value = token.partition("=")
            if name in self._renamed:
                name = self._renamed[name]
                self.warnings.append(
                    f"{token.partition('=')[0]} is now called {name}; the old name goes in the next release"
                )
            if equals and name in self._switches and value.lower() in _SWITCH_WORDS:
                self._switch(result, name, value)
                continue
            result.append(name + equals + value)
        return result

    def _switch(self, result: list[str], name: str, word: str) -> None:
        result.append(name if _SWITCH_WORDS[word.lower()] else self._switches[name])
        self.warnings.append(f"{name} {word} is now {result[-1]}; the old spelling goes in the next release")

    def _misspelt(self) -> list[tuple[str, str]]:
        """Options that were given and are not known, with what each may have meant."""
        known, proposals = self._option_string_actions, self.proposals()
        names = dict.fromkeys(token.partition("=")[0] for token in self._given if token.startswith("--"))
        found = [(name, nearest(name, proposals)) for name in names if name not in known]
        return [(name, meant) for name, meant in found if meant is not None]


def nearest(option: str, proposals: Mapping[str, str]) -> str | None:
    """The option that a misspelt one may have meant; None where none is near."""
    plain = {name.lstrip("-"): meant for name, meant in proposals.items()}
    name = option.partition("=")[0].lower().lstrip("-").replace("_", "-")
    close = difflib.get_close_matches(name, list(plain), 1)
    return plain[close[0]] if close else None


def unknown(token: str, proposals: Mapping[str, str]) -> str:
    """What is wrong with an argument that is not known."""
    if not token.startswith("-"):
        return f"unexpected argument {token!r}: it belongs to no option"
    meant = nearest(token, proposals)
    return f"unknown option {token.partition('=')[0]}." + (f" Did you mean {meant}?" if meant else "")


class _Part(NamedTuple):
    """What a help shows of one group."""

    title: str | None
    description: str | None
    actions: list[argparse.Action]


def _part(group: argparse._ArgumentGroup, shown: Callable[[argparse.Action], bool]) -> _Part:
    return _Part(group.title, group.description, [action for action in group._group_actions if shown(action)])


class _HelpAll(argparse.Action):
    def __init__(self, option_strings: Sequence[str], dest: str, **more: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, default=argparse.SUPPRESS, **more)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        """Print the help with every option, and end."""
        print(parser.format_all(), end="")  # type: ignore[attr-defined]
        parser.exit()


class _Help(argparse.HelpFormatter):
    """Help with the default of every option, paragraphs filled and example lines left as they are."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28, width=min(shutil.get_terminal_size().columns, _WIDEST) - 2)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        fill = super()._fill_text
        return "\n".join(line if line.startswith("  ") else fill(line, width, indent) for line in text.split("\n"))

    def _get_help_string(self, action: argparse.Action) -> str:
        text = action.help or ""
        if action.required:
            return f"{text} (required)"
        default = action.default
        if "default" in text or action.nargs == 0 or default is None or default is argparse.SUPPRESS or default == []:
            return text
        if isinstance(default, list | tuple):
            return f"{text} (default: {' '.join(map(str, default))})".replace("%", "%%")
        return f"{text} (default: %(default)s)"
