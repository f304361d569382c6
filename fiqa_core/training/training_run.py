"""The output folder of a training run: what may be there before a new run begins."""

import json
import re
from pathlib import Path

from fiqa_core.runs.layout import LOCK, TEMPORARIES
from fiqa_core.training.errors import TrainingError

_MOST_BYTES = 16 << 20
# Files of a run that ended before its first checkpoint; `settings.json` among them shows that it was a training run.
_BEFORE = {LOCK, TEMPORARIES, "settings.json", "metrics.jsonl", "tensorboard", "dataset", "pool", "checkpoints"}
_UNFINISHED = re.compile(r"_tmp-step-\d{8}")
_SECTIONS = {"run", "data", "optimiser"}


def refuse_foreign(output: Path) -> None:
    """Refuse to begin a run in a folder with files of no training run: it would overwrite them.

    Raises:
        TrainingError: it names the first.
    """
    names = {path.name for path in output.iterdir()} if output.is_dir() else set()
    foreign = sorted(names - _BEFORE)
    begun = names - {LOCK, TEMPORARIES, "dataset", "pool"}
    if not foreign and begun and not _is_ours(output / "settings.json"):
        foreign = sorted(begun)
    checkpoints = output / "checkpoints"
    if not foreign and checkpoints.is_dir():
        foreign = [f"checkpoints/{path.name}" for path in checkpoints.iterdir() if not _UNFINISHED.fullmatch(path.name)]
    if foreign:
        raise TrainingError(
            f"{output}: holds {foreign[0]!r}, which no training run left before its first checkpoint, so nothing there "
            "is written over. Choose another output."
        )


def _is_ours(settings: Path) -> bool:
    try:
        if settings.is_symlink() or settings.stat().st_size > _MOST_BYTES:
            return False
        found = json.loads(settings.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(found, dict) and found.keys() >= _SECTIONS
