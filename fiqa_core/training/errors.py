"""The error of training."""


class TrainingError(ValueError):
    """Settings, data or files that training cannot use; the message says which, what was found and what to do."""
