"""The base class of every error that this package raises on purpose."""


class FiqaError(Exception):
    """Something that its reader can mend: input, an option, a disk, a store, an installation.

    The message stands alone, without a trace: where it happened, what was found, what was expected, what to do. Any
    other exception that leaves a command is a bug. Subclasses also derive from ValueError, RuntimeError or OSError
    where callers may catch those.

    Attributes:
        several_lines: whether line breaks in the message are meant; each of its lines is safe to show then.
    """

    several_lines = False
