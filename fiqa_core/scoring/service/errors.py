"""Errors of the scoring process, as messages that a worker raises again."""

import builtins
import importlib
from typing import Any

from fiqa_core.errors import FiqaError

# Errors that come back as they were raised, so that a command handles them as if they were its own.
_KNOWN = {
    "DeviceError": "fiqa_core.devices",
    "CheckpointError": "fiqa_core.networks.checkpoint_files",
    "Int8UnavailableError": "fiqa_core.networks.int8",
    "StorageError": "fiqa_core.storage",
    "MemoryError": "builtins",
    "OSError": "builtins",
}
# Python's own errors, which no code raises on purpose: a command reports them as the bugs they are.
_BUGS = ("ValueError", "KeyError", "IndexError", "TypeError", "AttributeError", "AssertionError", "NameError")


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
    if name in _BUGS:
        kind: type[Exception] = getattr(builtins, name)
        return kind(text)
    return ScoringProcessError(f"{name}: {text}")
