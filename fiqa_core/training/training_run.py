"""The output folder of a training run: what it writes there, and how a later command goes on from it."""

import re
from pathlib import Path
from typing import Any

from fiqa_core.runs.folder import RunKind
from fiqa_core.runs.layout import LOCK, TEMPORARIES, own_json
from fiqa_core.storage import list_names
from fiqa_core.training import checkpoint
from fiqa_core.training.metrics import BOARD, FILE

SETTINGS = "settings.json"
MODEL, SCORE_ONLY = "model.pt", "model.safetensors"
DATASET, POOL = "dataset", "pool"
_SECTIONS = {"run", "data", "optimiser"}


def parse_settings(data: bytes) -> dict[str, Any]:
    """What a `settings.json` says.

    Raises:
        ValueError: it is not one that a training run wrote.
    """
    settings = own_json(data)
    if not settings.keys() >= _SECTIONS:
        raise ValueError("not what a training run writes")
    return settings


def _nothing_finished(output: str) -> bool:
    return not checkpoint.found(Path(output)) and not {MODEL, SCORE_ONLY} & set(list_names(output))


TRAINING_RUN = RunKind(
    "a training run",
    "checkpoints",
    SETTINGS,
    parse_settings,
    before=frozenset({LOCK, TEMPORARIES, DATASET, POOL}),
    own=frozenset({LOCK, TEMPORARIES, SETTINGS, FILE, BOARD, DATASET, POOL, checkpoint.FOLDER, MODEL, SCORE_ONLY}),
    below={
        TEMPORARIES: re.compile(r"fiqa-[0-9a-f]+"),
        BOARD: re.compile(r"events\.out\.tfevents\..+"),
        checkpoint.FOLDER: re.compile(r"(_tmp-)?step-\d{8,}"),
        f"{checkpoint.FOLDER}/*": re.compile(r"shared\.pt|process-\d+\.pt"),
    },
    swept=(TEMPORARIES,),
    # The plan and the pool are those of the new run by now; a pool of other settings was refused.
    cleared=(MODEL, SCORE_ONLY, checkpoint.FOLDER, FILE, BOARD),
    nothing_finished=_nothing_finished,
)
