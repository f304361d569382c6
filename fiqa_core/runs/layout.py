"""Which files are a scoring or filter run's own: they never become input, and only they are ever removed."""

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from typing import Any

from fiqa_core.storage import absolute, join, read_bytes, stat
from fiqa_core.wording import first_line

RUN = "run.json"
SUMMARY = "summary.json"
QUALITY = "quality"
PLAN = "plan"
UNITS = "plan/units.parquet"
LOCK = "_lock"
TEMPORARIES = "_tmp"
PROGRESS = "_progress"
PROGRESS_NOTE = re.compile(r"\d+-[0-9a-f]{8}\.(json|tmp)")
SEAL = "digest_of_this_account"

_RUN_KEYS = {"inputs", "unit_size", "plan_version", "package_version", "units", "settings"}
FILTER_KIND = "filter_dataset"
_FILTER_KEYS = {
    "kind", "decisions_version", "digest", "policy", "write", "shard_size", "quality", "against", "findings",
}  # fmt: skip
_MOST_BYTES = 64 << 20
_MOST_UNIT_SIZE = 1 << 40
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
    run = own_json(data)
    if not run.keys() >= _RUN_KEYS or not isinstance(run["settings"], dict):
        raise ValueError("not what a scoring run writes")
    size = run["unit_size"]
    if type(size) is not int or not 1 <= size <= _MOST_UNIT_SIZE:
        raise ValueError("its unit_size is not a whole number of at least 1, as a run writes it")
    return run


def parse_filter_run(data: bytes) -> dict[str, Any]:
    """What the `run.json` of a filter run says.

    Raises:
        ValueError: it is not one that a filter run wrote.
    """
    run = own_json(data)
    if not run.keys() >= _FILTER_KEYS or run["kind"] != FILTER_KIND:
        raise ValueError("not what a filter run writes")
    if not isinstance(run["policy"], dict):
        raise ValueError("its policy is not a mapping")
    for name in ("quality", "against", "findings"):
        if not isinstance(run[name], list) or not all(_is_file(file) for file in run[name]):
            raise ValueError(f"its {name} is not a list of files")
    return run


def _is_file(entry: object) -> bool:
    return isinstance(entry, list) and bool(entry) and all(isinstance(value, str | int) for value in entry)


def read_run_file(folder: str, parse: Callable[[bytes], dict[str, Any]] = parse_run, name: str = RUN) -> dict[str, Any]:
    """What the account of a folder's run says; one that no run would write is not even read to its end.

    Raises:
        ValueError: as `parse`. FileNotFoundError: there is none.
    """
    place = join(folder, name)
    found = stat(place)
    if found is not None and found.size > _MOST_BYTES:
        raise ValueError(f"{found.size:,} bytes, which no run writes")
    return parse(read_bytes(place))


def sealed(content: Mapping[str, Any]) -> bytes:
    """An account as JSON, with a digest of itself: `unsealed` tells whether it is as it was written."""
    return json.dumps({**content, SEAL: _seal(content)}, indent=1).encode()


def unsealed(url: str) -> dict[str, Any] | None:
    """An account as it was written (and without its digest); None where it was changed since, or is none of ours."""
    try:
        found = read_own_json(url)
    except (ValueError, FileNotFoundError):
        return None
    seal = found.pop(SEAL, None)
    return found if seal == _seal(found) else None


def _seal(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def own_json(data: bytes) -> dict[str, Any]:
    """A JSON object that a run wrote, read as if a stranger had.

    Raises:
        ValueError: not JSON, not an object, too large, or nested too deeply; the message is one line.
    """
    if len(data) > _MOST_BYTES:
        raise ValueError(f"{len(data):,} bytes, which no run writes")
    try:
        found = json.loads(data)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"not JSON: {first_line(error, 120)}") from None
    if not isinstance(found, dict):
        raise ValueError("not a JSON object")
    return found


def read_own_json(url: str) -> dict[str, Any]:
    """A JSON object that a run wrote, from its file.

    Raises:
        ValueError: as `own_json`. FileNotFoundError: no such file.
    """
    found = stat(url)
    if found is not None and found.size > _MOST_BYTES:
        raise ValueError(f"{found.size:,} bytes, which no run writes")
    return own_json(read_bytes(url))


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
