"""What an evaluation refuses."""

from fiqa_core.errors import FiqaError


class EvaluationError(FiqaError, ValueError):
    """An evaluation cannot be made as asked; the message says what was found, where, and what to do."""


class UnmeasurableFmrError(EvaluationError):
    """A target FMR below 1 / P, the smallest rate but 0 that P non-mated pairs can show."""
