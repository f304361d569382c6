"""Command lines: parse, wire, run, report."""

import sys
from pathlib import PurePath

from pipelines.cli.interrupts import end_imports_quietly

# While `python -m pipelines.NAME` or the program `fiqa` looks for its module; not where somebody imports this package.
if sys.argv and (sys.argv[0] == "-m" or PurePath(sys.argv[0]).stem == "fiqa"):
    end_imports_quietly()
