"""Names in the output folders of runs, and the files in which a run says what it is (its account) and how it ended."""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from fiqa_core.storage import join, read_bytes, stat
from fiqa_core.wording import first_line

RUN = "run.json"
SUMMARY = "summary.json"
QUALITY = "quality"
CROPS = "crops"
PLAN = "plan"
UNITS = "plan/units.parquet"
LOCK = "_lock"
TEMPORARIES = "_tmp"
PROGRESS = "_progress"
PROGRESS_NOTE = re.compile(r"\d+-[0-9a-f]{8}\.(json|tmp)")
SEAL = "digest_of_this_account"

_RUN_KEYS = {"inputs", "unit_size", "plan_version", "package_version", "units", "settings"}
FILTER_KIND = "filter_dataset"
ATLAS_KIND = "atlas_dataset"
ATLAS = "atlas.parquet"
_FILTER_KEYS = {
    "kind", "decisions_version", "digest", "policy", "write", "shard_size", "quality", "against", "findings",
}  # fmt: skip
CLEAN_KIND = "clean_dataset"
MOST_BYTES = 64 << 20
_MOST_UNIT_SIZE = 1 << 40


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


def parse_atlas_run(data: bytes) -> dict[str, Any]:
    """What the `run.json` of an atlas says.

    Raises:
        ValueError: it is not one that an atlas run wrote.
    """
    run = own_json(data)
    if run.get("kind") != ATLAS_KIND or not isinstance(run.get("settings"), dict):
        raise ValueError("not what an atlas run writes")
    return run


def parse_clean_run(data: bytes) -> dict[str, Any]:
    """What the `run.json` of a run of clean_dataset says.

    Raises:
        ValueError: it is not one that such a run wrote.
    """
    run = own_json(data)
    inputs = run.get("input")
    if run.get("kind") != CLEAN_KIND or not isinstance(inputs, list) or not all(isinstance(uri, str) for uri in inputs):
        raise ValueError("not what fiqa clean writes")
    return run


def _is_file(entry: object) -> bool:
    return isinstance(entry, list) and bool(entry) and all(isinstance(value, str | int) for value in entry)


def read_run_file(folder: str, parse: Callable[[bytes], dict[str, Any]] = parse_run, name: str = RUN) -> dict[str, Any]:
    """What the account of a folder's run says; a file too large for an account is not read.

    Raises:
        ValueError: as `parse`. FileNotFoundError: there is none.
    """
    place = join(folder, name)
    found = stat(place)
    if found is not None and found.size > MOST_BYTES:
        raise ValueError(f"{found.size:,} bytes, which no run writes")
    return parse(read_bytes(place))


def sealed(content: Mapping[str, Any]) -> bytes:
    """An account as JSON, with a digest of its content, so that `unsealed` can detect changes."""
    return json.dumps({**content, SEAL: _seal(content)}, indent=1).encode()


def unsealed(url: str) -> dict[str, Any] | None:
    """An account without its digest; None if it was changed since it was written, or is not ours."""
    try:
        found = read_own_json(url)
    except (ValueError, FileNotFoundError):
        return None
    seal = found.pop(SEAL, None)
    return found if seal == _seal(found) else None


def _seal(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def own_json(data: bytes) -> dict[str, Any]:
    """A JSON object that a run wrote, checked as untrusted input.

    Raises:
        ValueError: not JSON, not an object, too large, or nested too deeply; the message is one line.
    """
    if len(data) > MOST_BYTES:
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
    if found is not None and found.size > MOST_BYTES:
        raise ValueError(f"{found.size:,} bytes, which no run writes")
    return own_json(read_bytes(url))
