"""Options of the commands that read finished tables."""

import argparse

from fiqa_core import storage
from pipelines.cli.command import named


def add_quality(group: argparse._ArgumentGroup, more: str = "") -> None:
    """The tables that a command reads; `more`: what its help says beside what they are."""
    group.add_argument(
        "--quality",
        type=named,
        nargs="+",
        required=True,
        metavar="URI",
        help=f"quality tables: outputs of fiqa score{more}",
    )


def add_allow_incomplete(group: argparse._ArgumentGroup) -> None:
    """Whether tables may lack a part of their dataset."""
    group.add_argument(
        "--allow-incomplete",
        action="store_true",
        help="go on with tables of runs that are not finished or could not read everything",
    )


def add_moved(group: argparse._ArgumentGroup) -> None:
    """Where the shards of a table lie now."""
    group.add_argument(
        "--moved",
        nargs="+",
        default=[],
        type=_moved,
        metavar="OLD=NEW",
        help="the shards were moved since they were scored: how their URLs began and how they begin now (default: not "
        "moved)",
    )


def _moved(text: str) -> tuple[str, str]:
    """`OLD=NEW` as two absolute addresses, for argparse."""
    old, equals, new = text.partition("=")
    if not (old and equals and new):
        raise argparse.ArgumentTypeError(f"expected OLD=NEW, found {text!r}")
    return storage.absolute(old), storage.absolute(new)
