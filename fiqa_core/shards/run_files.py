"""Which files are a scoring or filter run's own: they never become input, and only they are ever removed."""

import json
import os
import re
from collections.abc import Callable
from typing import Any

from fiqa_core.storage import absolute, join, read_bytes, stat

RUN = "run.json"
SUMMARY = "summary.json"
QUALITY = "quality"
PLAN = "plan"
UNITS = "plan/units.parquet"
LOCK = "_lock"
TEMPORARIES = "_tmp"

_RUN_KEYS = {"inputs", "unit_size", "plan_version", "package_version", "units", "settings"}
FILTER_KIND = "filter_dataset"
_FILTER_KEYS = {
    "kind", "decisions_version", "digest", "policy", "write", "shard_size", "quality", "against", "findings",
}  # fmt: skip
_MOST_BYTES = 64 << 20
_LISTING = re.compile(r"(?:^|/)plan/files-[0-9a-f]{12}\.parquet$")
_OWN_FOLDERS = frozenset({QUALITY, PLAN, "decisions", "findings", "manifest"})
_IN_OUTPUT = re.compile(
    r"/(?=(?:run\.json|summary\.json|removed\.csv|policy\.yaml|_lock"
    r"|(?:quality|plan|decisions|findings|manifest)/[^/]+\.(?:parquet|json)|(?:_tmp|_progress|_findings)/.+)$)"
)
# A filter run's images: a dataset like any other where they are named, and no part of the folder that the run lies in.
_IN_SUBSET = re.compile(r"/(?=subset/.)")
_QUICK = (b"_tmp/", b"_progress/", b"_findings/", b"subset/")


def parse_run(data: bytes) -> dict[str, Any]:
    """What a `run.json` says.

    Raises:
        ValueError: it is not one that a scoring run wrote.
    """
    run = json.loads(data)
    if not isinstance(run, dict) or not run.keys() >= _RUN_KEYS or not isinstance(run["settings"], dict):
        raise ValueError("not what a scoring run writes")
    if not isinstance(run["unit_size"], int) or run["unit_size"] < 1:
        raise ValueError(f"unit_size is {run['unit_size']!r}")
    return run


def parse_filter_run(data: bytes) -> dict[str, Any]:
    """What the `run.json` of a filter run says.

    Raises:
        ValueError: it is not one that a filter run wrote.
    """
    run = json.loads(data)
    if not isinstance(run, dict) or not run.keys() >= _FILTER_KEYS or run["kind"] != FILTER_KIND:
        raise ValueError("not what a filter run writes")
    if not isinstance(run["policy"], dict):
        raise ValueError("its policy is no mapping")
    return run


def holds_run(folder: str) -> bool:
    """Whether a folder is the output of a scoring or a filter run that was begun."""
    place = join(folder, RUN)
    found = stat(place)
    if found is None or found.size > _MOST_BYTES:
        return False
    try:
        data = read_bytes(place)
    except FileNotFoundError:
        return False
    return any(_parses(parse, data) for parse in (parse_run, parse_filter_run))


def _parses(parse: Callable[[bytes], object], data: bytes) -> bool:
    try:
        parse(data)
    except ValueError:
        return False
    return True


class RunFiles:
    """Tells files of scoring runs from input; `workspace` is the folder that the plan is being written to."""

    def __init__(self, workspace: str) -> None:
        self._workspace = absolute(workspace)
        # The output that is being planned for, which has no run.json yet.
        self._present = self._workspace.removesuffix(f"/{PLAN}")
        self._known: dict[str, bool] = {}

    def holds(self, folder: str, path: bytes) -> bool:
        """Whether a file of a folder (by its absolute URL, and its path below it) is a run's own."""
        # The cheap question first: this is asked of every file of a dataset.
        named = path.endswith((b".json", b".parquet", b"_lock", b".csv", b".yaml"))
        if not named and not any(name in path for name in _QUICK):
            return False
        url = join(folder, os.fsdecode(path))
        return self.holds_url(url) or any(self._is_run(base) for base in _bases(_IN_SUBSET, url, len(folder)))

    def holds_url(self, url: str) -> bool:
        """Whether a file is a run's own (a subset is not: whoever names it wants it)."""
        if url.startswith(f"{self._workspace}/") or _LISTING.search(url):
            return True
        return any(self._is_run(base) for base in _bases(_IN_OUTPUT, url))

    def is_output(self, folder: str) -> bool:
        """Whether a folder is the output of a run, or a part of one."""
        base, _, name = folder.rpartition("/")
        return self._is_run(folder) or (name in _OWN_FOLDERS and self._is_run(base))

    def _is_run(self, folder: str) -> bool:
        if folder not in self._known:
            self._known[folder] = folder == self._present or holds_run(folder)
        return self._known[folder]


def _bases(pattern: re.Pattern[str], url: str, least: int = 0) -> list[str]:
    """Where the output would lie that a file seems to be of; only such as have at least so many characters."""
    return [url[: match.start()] for match in pattern.finditer(url) if match.start() >= least]
