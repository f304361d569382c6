"""A pair list of labelled faces: all mated pairs, and all or a seeded sample of the non-mated ones.

python -m benchmarks.lfw_pairs --table TABLE --output pairs.txt [--nonmated N] [--per-identity M] [--seed 0]
"""

import argparse
import itertools
from collections import defaultdict
from pathlib import Path

import numpy as np
import pandas as pd


def pairs_of(
    keys: list[str], labels: list[str], nonmated: int, per_identity: int, seed: int
) -> list[tuple[str, str, int]]:
    """Mated pairs in order, then non-mated ones; of each identity the first `per_identity` images (0: all)."""
    images = defaultdict(list)
    for key, label in sorted(zip(keys, labels, strict=True)):
        images[label].append(key)
    if per_identity:
        images = {label: own[:per_identity] for label, own in images.items()}
    mated = [(a, b, 1) for own in images.values() for a, b in itertools.combinations(own, 2)]
    flat = [(key, label) for label, own in images.items() for key in own]
    a, b = np.triu_indices(len(flat), 1)
    of = pd.factorize(np.array([label for _, label in flat]))[0]
    different = np.flatnonzero(of[a] != of[b])
    if nonmated and nonmated < len(different):
        different = np.sort(np.random.default_rng(seed).choice(different, nonmated, replace=False))
    return mated + [(flat[int(a[i])][0], flat[int(b[i])][0], 0) for i in different]


def write_pairs(table: str, output: Path, nonmated: int = 0, per_identity: int = 0, seed: int = 0) -> None:
    """Write the list of a table's faces."""
    faces = pd.read_parquet(table, columns=["key", "label"])
    found = pairs_of(list(faces.key), list(faces.label), nonmated, per_identity, seed)
    output.write_text("".join(f"{a} {b} {mated}\n" for a, b, mated in found))
    mated = sum(same for *_, same in found)
    print(f"{output}: {mated:,} mated, {len(found) - mated:,} non-mated pairs")


def main() -> None:
    """Write the list."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", required=True, help="Parquet with key and label")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--nonmated", type=int, default=0, help="0: all")
    parser.add_argument("--per-identity", type=int, default=0, help="0: all images")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    write_pairs(arguments.table, arguments.output, arguments.nonmated, arguments.per_identity, arguments.seed)


if __name__ == "__main__":
    main()
