"""Errors of a command line and of the job it starts. Each message is for people, and may have several lines."""

from fiqa_core.errors import FiqaError


class OptionError(FiqaError, ValueError):
    """An option that is unknown, or that would lose data."""

    several_lines = True


class JobError(FiqaError, RuntimeError):
    """The job was not accepted, or its runner gave it up; the message says why and what to do."""

    several_lines = True
