"""Errors of the scoring process, as messages that a worker raises again."""

import importlib
from typing import Any

from fiqa_core.errors import FiqaError

# Errors that a command answers in one line; any other is a fault of ours and travels with its trace.
_KNOWN = {
    "DeviceError": "fiqa_core.devices",
    "CheckpointError": "fiqa_core.networks.checkpoint_files",
    "Int8UnavailableError": "fiqa_core.networks.int8",
    "ValueError": "builtins",
    "StorageError": "fiqa_core.storage",
    "MemoryError": "builtins",
    "OSError": "builtins",
}


class ScoringProcessLostError(FiqaError, RuntimeError):
    """The scoring process ended, or was killed, while it had a batch of this worker: score the unit again."""


class ScoringProcessError(FiqaError, RuntimeError):
    """The scoring process could not start, or could not score a batch."""


def to_message(error: BaseException) -> dict[str, Any]:
    """An error as a message."""
    return {"error": type(error).__name__, "text": str(error)[:100_000]}


def from_message(message: dict[str, Any]) -> Exception:
    """The error of a message; of its own class if it is one that commands know."""
    name, text = str(message["error"]), str(message.get("text", ""))
    if name in _KNOWN:
        found = getattr(importlib.import_module(_KNOWN[name]), name)(text)
        if isinstance(found, Exception):
            return found
    return ScoringProcessError(f"{name}: {text}")
