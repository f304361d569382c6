"""The error of training."""

from fiqa_core.errors import FiqaError


class TrainingError(FiqaError, ValueError):
    """Settings, data or files that training cannot use; the message says which, what was found and what to do."""
