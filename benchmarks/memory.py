"""(d) Peak memory and time per image of the command without a network, as the dataset grows.

python -m benchmarks.memory [--shards FOLDER] [--images 10000 100000 1000000]
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.faces import DEFAULT_SHARDS, shards, stored_images
from benchmarks.reading import link_copies


def main() -> None:
    """A run for each size, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=Path, default=DEFAULT_SHARDS)
    parser.add_argument("--images", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    arguments = parser.parse_args()
    paths = shards(arguments.shards)
    held = len(stored_images(paths))
    print("| images | shards | peak MiB | microseconds an image |\n|---|---|---|---|")
    for wanted in arguments.images:
        with tempfile.TemporaryDirectory() as name:
            linked = link_copies(paths, Path(name) / "shards", round(wanted / held) or 1)
            output = Path(name) / "out"
            command = ["--input", str(linked[0].parent), "--output", str(output)]
            ran = subprocess.run(
                [sys.executable, "-m", "benchmarks.no_op", *command], check=True, stdout=subprocess.PIPE, text=True
            )
            summary = json.loads((output / "summary.json").read_text())
            peak = re.search(r"peak_mib (\d+)", ran.stdout)
        per_image = summary["seconds"] / summary["records"] * 1e6
        print(f"| {summary['records']:,} | {len(linked):,} | {peak and peak[1]} | {per_image:.0f} |", flush=True)


if __name__ == "__main__":
    main()
