"""What lies in the output folder of a scoring run, and what in it is not the run's."""

import re
from pathlib import Path

from fiqa_core.lines_error import LinesError
from fiqa_core.runs.layout import LOCK, PLAN, PROGRESS, PROGRESS_NOTE, QUALITY, RUN, SUMMARY, TEMPORARIES, UNITS
from fiqa_core.storage import is_local, join, list_names

__all__ = [
    "BEFORE_A_RUN",
    "LOCK",
    "PLAN",
    "QUALITY",
    "RUN",
    "SUMMARY",
    "TEMPORARIES",
    "UNITS",
    "OutputError",
    "foreign_files",
    "nothing_finished",
    "refuse_links",
]

# What a command leaves that ended before it had begun a run: planned at most, nothing scored.
BEFORE_A_RUN = frozenset({PLAN, PROGRESS, TEMPORARIES, LOCK})

_OURS_BELOW = {
    QUALITY: re.compile(r"part-\d{6,}-[0-9a-f]{12}\.parquet"),
    PLAN: re.compile(r"units\.parquet|files-[0-9a-f]{12}\.parquet|class_labels\.json|_tmp"),
    f"{PLAN}/{TEMPORARIES}": re.compile(r"fiqa-[0-9a-f]+"),
    TEMPORARIES: re.compile(r"fiqa-[0-9a-f]+"),
    PROGRESS: PROGRESS_NOTE,
}
# Folders that commands make in an output: their content is written and removed, so none may lead elsewhere.
_FOLDERS = (
    QUALITY, PLAN, TEMPORARIES, PROGRESS, f"{PLAN}/{TEMPORARIES}", "decisions", "manifest", "findings",
    "_findings", "subset", "subset/data", "subset/index", "subset/_work", "subset/_tmp", "dataset",
)  # fmt: skip
_OURS = {RUN, SUMMARY, LOCK, QUALITY, PLAN, TEMPORARIES, PROGRESS}


class OutputError(LinesError):
    """The output folder cannot be used as asked; the message says why and what to do."""


def refuse_links(output: str) -> None:
    """Refuse a local output in which a link stands in the place of a folder that commands make.

    The output itself may be a link: that is a choice of its place.

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


def foreign_files(output: str, folders: frozenset[str] = frozenset(_OURS_BELOW)) -> list[str]:
    """Names in an output, and in those folders of it, that no scoring run writes."""
    present = list_names(output)
    found = [name for name in present if name not in _OURS]
    for folder in sorted(folders):
        names = list_names(join(output, folder)) if folder.partition("/")[0] in present else []
        found += [f"{folder}/{name}" for name in names if not _OURS_BELOW[folder].fullmatch(name)]
    return found


def nothing_finished(output: str) -> bool:
    """Whether the run that was begun in an output has left nothing that could be kept.

    Asked of a disk only, where a lock tells that no command is at work; a job in the cloud may just have begun.
    """
    return is_local(output) and SUMMARY not in list_names(output) and not list_names(join(output, QUALITY))
