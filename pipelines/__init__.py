"""Command lines: parse, wire, run, report."""

import sys

from pipelines.cli.interrupts import end_imports_quietly

# So while `python -m pipelines.NAME` looks for its module, and in nobody's notebook.
if sys.argv[:1] == ["-m"]:
    end_imports_quietly()
