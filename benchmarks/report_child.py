"""The report_dataset command, which says at its end how much memory it took."""

import sys

from benchmarks.decisions import peak_kilobytes
from pipelines.report_dataset import run

if __name__ == "__main__":
    code = run()
    print("peak kilobytes", peak_kilobytes(), file=sys.stderr)
    sys.exit(code)
