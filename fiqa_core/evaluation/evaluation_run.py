"""The output folder of an evaluation: all of its files or none that look whole."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fiqa_core import storage
from fiqa_core.runs.differences import as_written, changed, flat, refuse_differences
from fiqa_core.runs.folder import RunKind, earlier_run, prepare
from fiqa_core.runs.layout import LOCK, TEMPORARIES, own_json, read_run_file, sealed, unsealed

ACCOUNT = "evaluation.json"
_OURS = re.compile(
    r"edc\.parquet|(auc|differences|groups|poor_images|recommendations)\.csv|(edc|differences)-[\w.+-]+\.(png|svg)"
)
_FILES_AT_ONCE = 16


def parse_account(data: bytes) -> dict[str, Any]:
    """What an `evaluation.json` says.

    Raises:
        ValueError: it is not one that an evaluation wrote.
    """
    account = own_json(data)
    files = account.get("files")
    if not isinstance(files, list) or not all(isinstance(name, str) and _OURS.fullmatch(name) for name in files):
        raise ValueError("its files are not those of an evaluation")
    for name in ("arguments", "inputs", "digests"):
        if not isinstance(account.get(name, {}), dict):
            raise ValueError(f"its {name} are not a mapping")
    if not set(account.get("digests", {})) <= set(files):
        raise ValueError("it has digests of other files")
    return account


def _kind(written: Iterable[str] = ()) -> RunKind:
    return RunKind(
        "an evaluation",
        "files",
        ACCOUNT,
        parse_account,
        before=frozenset({LOCK, TEMPORARIES}),
        own=frozenset({ACCOUNT, LOCK, TEMPORARIES, *written}),
        below={TEMPORARIES: re.compile(r"fiqa-[0-9a-f]+")},
        swept=(TEMPORARIES,),
        cleared=(),  # `publish_all` replaces the files one by one, once the new ones are made
        nothing_finished=lambda _: False,  # its account is first written when files are ready
    )


def prepare_output(output: str, resume: bool, overwrite: bool) -> None:
    """Check that an output may be written to (`fiqa_core.runs.folder.prepare`).

    An evaluation wrote what its `evaluation.json` names: another file with such a name is somebody else's.
    """
    prepare(output, _kind(_earlier_files(output)), resume, overwrite)


def finished_files(output: str, settings: Mapping[str, Any]) -> list[str] | None:
    """Names of the files of an earlier evaluation that is complete; None where it must be done (again).

    `settings`: of this one, as its account has them: `arguments`, `embed_dataset`, `inputs`.

    Raises:
        OutputError: the earlier one had other settings, with the differences named.
    """
    earlier = earlier_run(output, _kind())
    if earlier is None:
        return None
    refuse_differences(output, _differences(earlier, as_written(settings)))
    account = unsealed(storage.join(output, ACCOUNT))
    if account is None or account.get("complete") is not True:
        return None
    names, digests = account["files"], account.get("digests", {})
    if not set(names) <= set(storage.list_names(output)):
        return None
    found = storage.in_flight([storage.join(output, name) for name in names], _digest_of, _FILES_AT_ONCE)
    return names if list(found) == [digests.get(name) for name in names] else None


def publish_all(output: str, files: Mapping[str, Path], account: Mapping[str, Any]) -> None:
    """Put finished files in their place; `evaluation.json`, which says that they are all there, goes last.

    What an earlier evaluation left is removed first. Meanwhile the account says that nothing is whole, and names what
    may lie there: broken off, an evaluation can still be resumed or overwritten.
    """
    earlier = sorted(_earlier_files(output) & set(storage.list_names(output)))
    begun = {**account, "complete": False, "files": sorted({*earlier, *files})}
    storage.publish_bytes(json.dumps(begun, indent=1).encode(), output, storage.join(output, ACCOUNT))
    for name in earlier:
        storage.remove(storage.join(output, name))
    digests: dict[str, str] = {}
    for name, path in sorted(files.items()):
        content = path.read_bytes()
        digests[name] = _digest(content)
        storage.publish_bytes(content, output, storage.join(output, name))
    done = {**account, "complete": True, "files": sorted(files), "digests": digests}
    storage.publish_bytes(sealed(done), output, storage.join(output, ACCOUNT))
    storage.sweep(output)


def _earlier_files(output: str) -> set[str]:
    """Names of what an earlier evaluation wrote, by its account; none where there is no such account."""
    try:
        return set(read_run_file(output, parse_account, ACCOUNT)["files"])
    except (ValueError, FileNotFoundError):
        return set()


def _differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    arguments = changed(flat(then.get("arguments", {})), flat(now["arguments"]))
    arguments += changed(then, now, ("embed_dataset",))
    before, after = then.get("inputs", {}), now["inputs"]
    return arguments + [
        f"input {name}: its content changed" for name in sorted(after) if name in before and after[name] != before[name]
    ]


def _digest_of(url: str) -> str:
    return _digest(storage.read_bytes(url))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
