"""The output folder of an evaluation: all of its files or none that look whole."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fiqa_core import storage
from fiqa_core.evaluation.errors import EvaluationError
from fiqa_core.shards.run_files import LOCK, TEMPORARIES

ACCOUNT = "evaluation.json"
_OURS = re.compile(r"edc\.parquet|auc\.csv|recommendations\.csv|evaluation\.json|edc-[\w.+-]+\.(png|svg)")


def check_output(output: str, overwrite: bool) -> None:
    """Refuse an output that holds anything but an earlier evaluation that may be overwritten.

    Raises:
        EvaluationError: it is not empty.
    """
    present = set(storage.list_names(output)) - {LOCK, TEMPORARIES}
    foreign = sorted(name for name in present if not _OURS.fullmatch(name))
    if foreign:
        raise EvaluationError(f"{output}: holds {foreign[0]!r}, which no evaluation wrote. Choose another --output.")
    if present and not overwrite:
        raise EvaluationError(f"{output}: holds an earlier evaluation. Add --overwrite, or choose another --output.")


def publish_all(output: str, files: Mapping[str, Path], account: Mapping[str, Any]) -> None:
    """Put finished files in their place; `evaluation.json`, which says that they are all there, goes last.

    What an earlier evaluation left is removed first, its account before the rest.
    """
    present = [name for name in storage.list_names(output) if _OURS.fullmatch(name)]
    for name in sorted(present, key=lambda name: name != ACCOUNT):
        storage.remove(storage.join(output, name))
    for name, path in sorted(files.items()):
        with storage.temporary_for(output) as temporary:
            temporary.write_bytes(path.read_bytes())
            storage.publish(temporary, storage.join(output, name))
    storage.publish_bytes(json.dumps(account, indent=1).encode(), output, storage.join(output, ACCOUNT))
    storage.sweep(output)
