"""What cannot be set up for alignment."""

from fiqa_core.errors import FiqaError


class AlignmentError(FiqaError, ValueError):
    """A detector or setting that cannot be used; the message says where it is, what was found and what to do."""
