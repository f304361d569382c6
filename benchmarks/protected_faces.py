"""What --protect-recognised saves and what it lets pass, on natural faces and on a copy of which half is degraded.

    python -m benchmarks.protected_faces [--shards FOLDER] [--models FOLDER] [--seed 0]

LFW's test faces with LightQNet's quality; 2 % of the labels are swapped with another identity's. One recognition
network protects, the other judges what was spared, so that no network marks its own work. `mixed`: half of the images
are degraded (`benchmarks.mixed_quality`). A face is known where the network has it as the option's defaults say; it is
lost where another identity's centre is nearer. FNMR: of all pairs of one identity (true labels) among the kept images,
by the judge, at the cosine that 1 in 1,000 pairs of two people of the whole set exceed.
"""

import argparse
import contextlib
import io
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from benchmarks.faces import DEFAULT_SHARDS
from benchmarks.mixed_quality import degrade
from benchmarks.planted_faces import Face, Network, read_faces, swapped, write_table
from pipelines import filter_dataset

SHARES = (0.05, 0.10)
SWAPPED = 0.02
NETWORKS = ("edgeface", "mobilefacenet")
_FMR = 1e-3


def decided(table: Path, output: Path, *options: object) -> dict[str, np.ndarray]:
    """The columns of the decisions that one command writes."""
    command = ["--quality", table, "--embeddings", "table", "--output", output, *options]
    with contextlib.redirect_stdout(io.StringIO()):
        code = filter_dataset.run([str(word) for word in command])
    if code != filter_dataset.EXIT_OK:
        raise SystemExit("filter_dataset failed; its message is above")
    found = pq.read_table(output / "decisions")
    names = ("keep", "recognised", "centre_cosine", "nearest_cosine", "label_verdict")
    return {name: np.array(found[name].to_pylist()) for name in names}


def fnmr(embeddings: np.ndarray, people: np.ndarray, kept: np.ndarray) -> float:
    """False non-match rate of the kept images; the threshold is that of all."""
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    cosines = unit @ unit.T
    above = np.triu(np.ones(cosines.shape, bool), 1)
    same = people[:, None] == people
    threshold = np.quantile(cosines[above & ~same], 1 - _FMR)
    both = kept[:, None] & kept
    return float((cosines[above & same & both] < threshold).mean())


def measure(name: str, faces: Sequence[Face], changed: np.ndarray, models: Path, seed: int) -> None:
    """Print a line for each network and share."""
    people = np.array([face.person for face in faces])
    labels = swapped(people.tolist(), SWAPPED, np.random.default_rng(seed))
    wrong = np.array(labels) != people
    quality = Network(models, "quality")(faces)
    embeddings = {network: Network(models, network)(faces) for network in NETWORKS}
    with tempfile.TemporaryDirectory() as folder:
        known, lost = {}, {}
        for network in NETWORKS:
            write_table(Path(folder) / network / "quality", faces, labels, quality, embeddings[network])
            by = decided(Path(folder) / network, Path(folder) / f"{network}-known", "--protect-recognised")
            known[network] = by["recognised"].astype(bool)
            lost[network] = by["nearest_cosine"].astype(float) > by["centre_cosine"].astype(float)
        for network, judge in (NETWORKS, NETWORKS[::-1]):
            for share in SHARES:
                places = [Path(folder) / f"{network}-{share}-{which}" for which in ("plain", "protected")]
                worst = ["--drop-worst", share]
                plain = decided(Path(folder) / network, places[0], *worst)["keep"].astype(bool)
                kept = decided(Path(folder) / network, places[1], *worst, "--protect-recognised")["keep"].astype(bool)
                spared = kept & ~plain
                rates = [fnmr(embeddings[judge], people, rows) for rows in (np.ones(len(people), bool), plain, kept)]
                cells = [
                    *(int(rows.sum()) for rows in (~plain, spared, spared & ~changed, spared & changed)),
                    *(int((spared & rows).sum()) for rows in (known[judge], lost[judge], wrong)),
                    int((~kept & known[judge]).sum()),
                    *(f"{rate:.4f}" for rate in rates),
                ]
                print(f"| {name} | {network} | {share:.0%} | {' | '.join(map(str, cells))} |", flush=True)


def main() -> None:
    """Parse and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=Path, default=DEFAULT_SHARDS)
    parser.add_argument("--models", type=Path, default=DEFAULT_SHARDS.parent / "models")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    natural = read_faces(arguments.shards, 1_000_000)
    mixed = [
        face._replace(data=degrade(face.data, f"{face.person}/{face.original}", arguments.seed)) for face in natural
    ]
    changed = np.array([face.data != other.data for face, other in zip(natural, mixed, strict=True)])
    print(
        "| faces | protected by | worst | dropped without | spared | of these untouched | degraded "
        "| known to the judge | lost to it "
        "| wrong label | still dropped, known to it | FNMR, all | dropped | protected |"
    )
    print("|---|---|" + "---|" * 12)
    measure("natural", natural, np.zeros(len(natural), bool), arguments.models, arguments.seed)
    measure("mixed", mixed, changed, arguments.models, arguments.seed)


if __name__ == "__main__":
    main()
