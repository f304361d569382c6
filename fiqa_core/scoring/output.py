"""What lies in the output folder of a scoring run."""

from fiqa_core.scoring.progress import FOLDER as PROGRESS_FOLDER

RUN = "run.json"
SUMMARY = "summary.json"
QUALITY = "quality"
PLAN = "plan"
UNITS = "plan/units.parquet"
LOCK = "_lock"
TEMPORARIES = "_tmp"

OURS = frozenset({QUALITY, PLAN, RUN, SUMMARY, PROGRESS_FOLDER, TEMPORARIES, LOCK})
# What a command leaves that ended before it had begun a run: planned at most, nothing scored.
BEFORE_A_RUN = frozenset({PLAN, PROGRESS_FOLDER, TEMPORARIES, LOCK})


class OutputError(ValueError):
    """The output folder cannot be used as asked; the message says why and what to do."""
