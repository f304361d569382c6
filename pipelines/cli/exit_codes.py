"""The exit codes of every command (docs/exit_codes.md)."""

EXIT_OK = 0
EXIT_BAD_INPUT = 2
EXIT_INCOMPLETE = 3
EXIT_BUG = 4
EXIT_UNANSWERED = 5
EXIT_INTERRUPTED = 130
