"""The output folder of an evaluation: all of its files or none that look whole."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fiqa_core import storage
from fiqa_core.evaluation.errors import EvaluationError
from fiqa_core.runs.layout import LOCK, TEMPORARIES

ACCOUNT = "evaluation.json"
_OURS = re.compile(r"edc\.parquet|auc\.csv|recommendations\.csv|evaluation\.json|edc-[\w.+-]+\.(png|svg)")
_MOST_BYTES = 16 << 20


def check_output(output: str, overwrite: bool) -> None:
    """Refuse an output that holds anything but an earlier evaluation that may be overwritten.

    What an evaluation wrote is what its `evaluation.json` names: a file that only has such a name is somebody else's.

    Raises:
        EvaluationError: it is not empty.
    """
    present = set(storage.list_names(output)) - {LOCK, TEMPORARIES}
    foreign = sorted(present - _written(output))
    if foreign:
        raise EvaluationError(f"{output}: holds {foreign[0]!r}, which no evaluation wrote. Choose another --output.")
    if present and not overwrite:
        raise EvaluationError(f"{output}: holds an earlier evaluation. Add --overwrite, or choose another --output.")


def _written(output: str) -> set[str]:
    """Names of what an earlier evaluation wrote, by its account; none where there is no such account."""
    place = storage.join(output, ACCOUNT)
    found = storage.stat(place)
    if found is None or found.size > _MOST_BYTES:
        return set()
    try:
        account = json.loads(storage.read_bytes(place))
    except (ValueError, RecursionError):
        return set()
    files = account.get("files") if isinstance(account, dict) else None
    if not isinstance(files, list):
        return set()
    return {ACCOUNT} | {name for name in files if isinstance(name, str) and _OURS.fullmatch(name)}


def publish_all(output: str, files: Mapping[str, Path], account: Mapping[str, Any]) -> None:
    """Put finished files in their place; `evaluation.json`, which says that they are all there, goes last.

    What an earlier evaluation left is removed first. Meanwhile the account says that nothing is whole, and names what
    may lie there: broken off, an evaluation can still be overwritten.
    """
    earlier = sorted((_written(output) & set(storage.list_names(output))) - {ACCOUNT})
    begun = {"complete": False, "files": sorted({*earlier, *files})}
    storage.publish_bytes(json.dumps(begun).encode(), output, storage.join(output, ACCOUNT))
    for name in earlier:
        storage.remove(storage.join(output, name))
    for name, path in sorted(files.items()):
        with storage.temporary_for(output) as temporary:
            temporary.write_bytes(path.read_bytes())
            storage.publish(temporary, storage.join(output, name))
    storage.publish_bytes(json.dumps(account, indent=1).encode(), output, storage.join(output, ACCOUNT))
    storage.sweep(output)
