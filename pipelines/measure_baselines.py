"""Score a dataset by a simple measure instead of a network: the same job, the same table, for comparison."""

import argparse
import sys
from collections.abc import Sequence

from fiqa_core.scoring.measures import MEASURES, MeasureSource
from pipelines import score_dataset


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command; exit codes and all other options are score_dataset's."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.measure_baselines",
        description="Score every image by a simple measure (for evaluate_quality): "
        + "; ".join(f"{name}: {text}" for name, text in MEASURES.items()),
        epilog="All other options are those of pipelines.score_dataset, without --checkpoint.",
        allow_abbrev=False,
    )
    parser.add_argument("--measure", choices=list(MEASURES), required=True)
    arguments, rest = parser.parse_known_args(argv)
    return score_dataset.run(rest, MeasureSource(arguments.measure))


if __name__ == "__main__":
    sys.exit(run())
