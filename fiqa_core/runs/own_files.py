"""Which files are the own ones of a scoring, filter, atlas or cleaning run: they never become input."""

import os
import re
from collections.abc import Callable

from fiqa_core.runs.layout import (
    MOST_BYTES,
    PLAN,
    QUALITY,
    RUN,
    parse_atlas_run,
    parse_clean_run,
    parse_filter_run,
    parse_run,
)
from fiqa_core.storage import absolute, join, read_bytes, stat

_LISTING = re.compile(r"(?:^|/)plan/(?:files|tar)-[0-9a-f]{12}\.parquet$")
_OWN_FOLDERS = frozenset({QUALITY, PLAN, "decisions", "findings", "manifest"})
_IN_OUTPUT = re.compile(
    r"/(?=(?:run\.json|summary\.json|removed\.csv|policy\.yaml|atlas\.parquet|recipe\.yaml|_lock"
    r"|(?:quality|plan|decisions|findings|manifest|dropped_index)/[^/]+\.(?:parquet|json)|(?:_tmp|_progress|_findings)/.+)$)"
)
# Images that a run wrote: input if the user names them, but not input as a part of the folder around the run.
_IN_SUBSET = re.compile(r"/(?=(?:subset|crops|dropped)/.)")
_QUICK = (b"_tmp/", b"_progress/", b"_findings/", b"subset/", b"crops/", b"dropped/")


def holds_run(folder: str) -> bool:
    """Whether a folder is the output of a scoring, filter, atlas or cleaning run that was begun."""
    place = join(folder, RUN)
    found = stat(place)
    if found is None or found.size > MOST_BYTES:
        return False
    try:
        data = read_bytes(place)
    except FileNotFoundError:
        return False
    return any(_parses(parse, data) for parse in (parse_run, parse_filter_run, parse_atlas_run, parse_clean_run))


def _parses(parse: Callable[[bytes], object], data: bytes) -> bool:
    try:
        parse(data)
    except ValueError:
        return False
    return True


class RunFiles:
    """Separates the files of runs from input; `workspace` is the folder that the plan is written to."""

    def __init__(self, workspace: str) -> None:
        self._workspace = absolute(workspace)
        # The output of this run, which has no run.json yet.
        self._present = self._workspace.removesuffix(f"/{PLAN}")
        self._known: dict[str, bool] = {}

    def holds(self, folder: str, path: bytes) -> bool:
        """Whether a file of a folder (absolute URL, and path below it) belongs to a run."""
        # The cheap test first: this is called for every file of a dataset.
        named = path.endswith((b".json", b".parquet", b"_lock", b".csv", b".yaml"))
        if not named and not any(name in path for name in _QUICK):
            return False
        url = join(folder, os.fsdecode(path))
        return self.holds_url(url) or any(
            self._is_run(base) for base in _possible_outputs(_IN_SUBSET, url, len(folder))
        )

    def holds_url(self, url: str) -> bool:
        """Whether a file belongs to a run. A subset does not: a user who names it wants it as input."""
        if url.startswith(f"{self._workspace}/") or _LISTING.search(url):
            return True
        return any(self._is_run(base) for base in _possible_outputs(_IN_OUTPUT, url))

    def is_output(self, folder: str) -> bool:
        """Whether a folder is the output of a run, or a part of one."""
        base, _, name = folder.rpartition("/")
        return self._is_run(folder) or (name in _OWN_FOLDERS and self._is_run(base))

    def _is_run(self, folder: str) -> bool:
        if folder not in self._known:
            self._known[folder] = folder == self._present or holds_run(folder)
        return self._known[folder]


def _possible_outputs(pattern: re.Pattern[str], url: str, least: int = 0) -> list[str]:
    """The output folders that a file could belong to, by its path; only those with at least `least` characters."""
    return [url[: match.start()] for match in pattern.finditer(url) if match.start() >= least]
