"""List the networks that --network knows: what each gives, its licence, whether its file is here, where to get it."""

import logging
import sys
from collections.abc import Sequence

from fiqa_core.networks.known import FOLDER_VARIABLE, KNOWN, KnownNetwork, found_file, networks_folder
from pipelines.cli.command import EXIT_OK, Body, run_command
from pipelines.cli.log_format import report
from pipelines.cli.parser import Parser

_log = logging.getLogger("list_networks")


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = make_parser()

    def load() -> Body:
        def body(arguments: object, rest: Sequence[str]) -> int:  # noqa: ARG001
            if rest:
                parser.error(f"unrecognized arguments: {' '.join(rest)}")
            report(_table())
            return EXIT_OK

        return body

    return run_command(parser, argv, _log, load)


def make_parser() -> Parser:
    """The command has no options."""
    return Parser(
        "list_networks",
        "List the networks that --network knows, with licence, input and where to get their files.",
        ["", "--debug"],
    )


def _table() -> list[str]:
    lines = [
        f"Files are looked for at --model, in {networks_folder()} (or ${FOLDER_VARIABLE}), and in installed packages.",
        "",
    ]
    for name, network in KNOWN.items():
        here = found_file(network)
        lines += [
            f"{name:<16} {network.summary}",
            f"{'':<16} licence of the weights: {network.licence}; input: {_input(network)}",
            f"{'':<16} {f'file: {here}' if here else f'no file {network.file}; get it from {network.source}'}",
        ]
        if network.sha256:
            lines.append(f"{'':<16} sha256 {' or '.join(network.sha256)}")
        if network.unconfirmed:
            lines.append(f"{'':<16} not confirmed: {network.unconfirmed}")
    return lines


def _input(network: KnownNetwork) -> str:
    fed = network.onnx
    if fed is None:
        return "as its checkpoint says"
    mean, std = (",".join(f"{value:g}" for value in values) for values in (fed.mean, fed.std))
    return f"{fed.layout}, {fed.color.upper()}, {fed.size}x{fed.size} pixels, (x - {mean}) / {std}"


if __name__ == "__main__":
    sys.exit(run())
