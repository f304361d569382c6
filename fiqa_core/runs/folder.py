"""One engine for output folders: what may be in them, what is removed, and which earlier run is continued."""

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fiqa_core.lines_error import LinesError
from fiqa_core.runs.layout import PLAN, PROGRESS, PROGRESS_NOTE, QUALITY, TEMPORARIES, read_run_file
from fiqa_core.storage import absolute, is_folder, is_local, join, list_names, remove, sweep

# Folders that commands make in an output. Their content is written and removed, so none of them may be a link.
_FOLDERS = (
    QUALITY, PLAN, TEMPORARIES, PROGRESS, f"{PLAN}/{TEMPORARIES}", "decisions", "manifest", "findings",
    "_findings", "crops", "subset", "subset/data", "subset/index", "subset/_work", "subset/_tmp", "dataset",
    "dropped", "dropped_index",
)  # fmt: skip


class OutputError(LinesError):
    """The output folder cannot be used as asked; the message says why and what to do."""


class AnotherRunError(OutputError):
    """The earlier run in an output was of other settings or input; `differences` says which, a line for each."""

    differences: tuple[str, ...] = ()


@dataclass(frozen=True)
class RunKind:
    """What one kind of run writes into its output folder. Any other file there is a user's, and is never removed.

    Attributes:
        noun: for messages, such as "a scoring run". parts: what --resume keeps of it, such as "units".
        account: name of the file that says what the run is. Without it nothing is resumed or overwritten.
        parse: the account's content; raises ValueError for one that no such run wrote.
        before: names that a command can leave that ended before it wrote the account.
        own: all names at the top of the output. below: by folder, names in it (of `a/*`: in each folder in `a`).
        swept: folders whose left-overs are removed whenever a command starts.
        cleared: what --overwrite removes, in this order; the account goes after them.
        nothing_finished: whether a run that was begun has left nothing worth keeping.
    """

    noun: str
    parts: str
    account: str
    parse: Callable[[bytes], dict[str, Any]]
    before: frozenset[str]
    own: frozenset[str]
    below: Mapping[str, re.Pattern[str]]
    swept: tuple[str, ...]
    cleared: tuple[str, ...]
    nothing_finished: Callable[[str], bool]

    @property
    def short(self) -> str:
        """The noun alone: "run"."""
        return self.noun.rpartition(" ")[2]


def prepare(output: str, kind: RunKind, resume: bool, overwrite: bool) -> dict[str, Any] | None:
    """Check an output (`check`), then remove temporaries of killed commands. Nothing finished is touched yet."""
    earlier = check(output, kind, resume, overwrite)
    for folder in kind.swept:
        above, _, name = folder.rpartition("/")
        if name == TEMPORARIES:
            sweep(join(output, above) if above else output)
    remove_notes(output)
    return earlier


def check(output: str, kind: RunKind, resume: bool, overwrite: bool) -> dict[str, Any] | None:
    """Check that an output may be written to; nothing is touched.

    A run that ended before it finished anything does not block the next one.

    Returns the account of the earlier run, None if there is none.

    Raises:
        OutputError: it holds an earlier run (and neither flag is given), or files that are not ours.
    """
    _refuse_undecodable(output)
    present = list_names(output)
    earlier = read_account(output, kind) if kind.account in present else None
    if earlier is None:
        others = (name for name in present if name not in kind.before and not _is_empty_folder(output, kind, name))
        other = next(others, None)
        if other is not None:
            raise OutputError(
                f"{output}: not empty (it holds {other!r}) and not {kind.noun} (there is no {kind.account}), so "
                "nothing in it is resumed or overwritten. Choose another --output."
            )
    refuse_foreign(output, kind, everywhere=overwrite)
    if earlier is not None and not (resume or overwrite or _is_only_begun(output, kind)):
        raise OutputError(
            f"{output}: holds an earlier {kind.short}. --resume keeps its finished {kind.parts} and does the rest, "
            "--overwrite starts afresh; or choose another --output."
        )
    return earlier


def earlier_run(output: str, kind: RunKind) -> dict[str, Any] | None:
    """The account of the run to continue, after `prepare` allowed it; None if a new run begins."""
    if kind.account not in list_names(output) or _is_only_begun(output, kind):
        return None
    return read_account(output, kind)


def clear(output: str, kind: RunKind) -> None:
    """Remove an earlier run, its account last: broken off before that, it can still be overwritten.

    Raises:
        OutputError: it contains files that no run wrote; nothing was removed.
    """
    refuse_foreign(output, kind, everywhere=True)
    for name in (*kind.cleared, kind.account):
        remove(join(output, name))


def read_account(output: str, kind: RunKind) -> dict[str, Any]:
    """What the account of the run in an output says.

    Raises:
        OutputError: it is not one that such a run wrote.
    """
    try:
        return read_run_file(output, kind.parse, kind.account)
    except ValueError as error:
        raise OutputError(
            f"{join(output, kind.account)}: not readable as {kind.noun}'s ({error}), so nothing beside it is resumed "
            "or overwritten. Choose another --output."
        ) from error


def refuse_foreign(output: str, kind: RunKind, everywhere: bool) -> None:
    """Refuse an output with a user's files in the folders that are about to be swept, or (`everywhere`) removed.

    Raises:
        OutputError: it names the first.
    """
    foreign = next(_foreign_files(output, kind, everywhere), None)
    if foreign is not None:
        raise OutputError(
            f"{output}: only what {kind.noun} writes is ever removed, but there is also {foreign!r}. "
            "Move it away or choose another --output."
        )


def _foreign_files(output: str, kind: RunKind, everywhere: bool) -> Iterator[str]:
    present = list_names(output)
    if everywhere:
        yield from (name for name in present if name not in kind.own)
    for place in kind.below if everywhere else kind.swept:
        if place.partition("/")[0] not in present:
            continue
        for folder in _folders(output, place):
            names = list_names(join(output, folder))
            yield from (f"{folder}/{name}" for name in names if not kind.below[place].fullmatch(name))


def _folders(output: str, place: str) -> list[str]:
    """The folder that a key of `RunKind.below` stands for, or all of them."""
    above, star, _ = place.partition("/*")
    if not star:
        return [place]
    return [f"{above}/{name}" for name in list_names(join(output, above)) if is_folder(join(output, above, name))]


def _is_empty_folder(output: str, kind: RunKind, name: str) -> bool:
    return name in kind.below and not list_names(join(output, name))


def _is_only_begun(output: str, kind: RunKind) -> bool:
    """Whether the run in an output finished nothing. False for a store: without a lock, a job in the cloud
    may just have begun.
    """
    return is_local(output) and kind.nothing_finished(output)


def refuse_links(output: str) -> None:
    """Refuse a local output in which a link stands in the place of a folder that commands make.

    The output itself may be a link.

    Raises:
        OutputError: it names the link.
    """
    for name in _FOLDERS:
        place = Path(output) / name
        if place.is_symlink():
            raise OutputError(
                f"{place}: is a link, and what a command writes or removes there would be elsewhere. Remove the link, "
                "or choose another --output (which may itself be a link)."
            )


def remove_notes(output: str) -> None:
    """Remove the notes that workers left in a local output (`_progress`), and their folder once it is empty."""
    if not is_local(output):
        return
    folder = Path(absolute(join(output, PROGRESS)))
    if folder.is_symlink() or not folder.is_dir():
        return
    for path in folder.iterdir():
        if PROGRESS_NOTE.fullmatch(path.name):
            path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        folder.rmdir()


def _refuse_undecodable(output: str) -> None:
    try:
        output.encode()
    except UnicodeEncodeError:
        shown = os.fsencode(output).decode("utf-8", "backslashreplace")
        raise OutputError(f"{shown}: this name is not valid UTF-8. Choose another --output.") from None
