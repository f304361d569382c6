"""What a perfect student of the teacher would reach: the targets of distillation themselves as quality measures.

python -m benchmarks.distilled_targets --work FOLDER        (FOLDER: the output of benchmarks.edc_faces)

On the mixed-quality copy the teacher (MobileFaceNet) sees each test image degraded and as it was; EdgeFace judges.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from benchmarks.embedded_model import FMRS, JUDGE, TEACHER
from fiqa_core.evaluation import edc
from fiqa_core.evaluation.comparisons import Comparisons, dissimilarities
from fiqa_core.evaluation.discarding import QualityOrder
from fiqa_core.evaluation.pairs import read_pairs


def embeddings(table: Path) -> tuple[list[str], list[str], np.ndarray]:
    """Keys, labels and embeddings, float64 (N, D), in the order of the keys."""
    rows = pq.read_table(table, columns=["key", "label", "embedding"]).sort_by("key")
    return rows["key"].to_pylist(), rows["label"].to_pylist(), np.array(rows["embedding"].to_pylist(), np.float64)


def measures(work: Path) -> tuple[list[str], dict[str, np.ndarray]]:
    """Keys and the quality of each image of the mixed copy by each target."""
    keys, labels, clean = embeddings(work / f"natural-{TEACHER}" / "quality")
    _, _, mixed = embeddings(work / f"mixed-{TEACHER}" / "quality")
    norm = np.linalg.norm(mixed, axis=1)
    clean, mixed = _unit(clean), _unit(mixed)
    classes = pd.factorize(np.array(labels))[0]
    sums = np.zeros((classes.max() + 1, clean.shape[1]))
    np.add.at(sums, classes, clean)
    foreign = mixed @ _unit(sums).T
    foreign[np.arange(len(keys)), classes] = -1
    nnccs = foreign.max(1)
    others, itself = (mixed * _unit(sums[classes] - clean)).sum(1), (mixed * clean).sum(1)
    lightqnet = pd.read_parquet(work / "mixed-lightqnet-dm050" / "quality").set_index("key").quality
    return keys, {
        "CCS without the image itself": others,
        "certainty ratio of it": others / (nnccs + 1),
        "cosine to its own clean embedding": itself,
        "certainty ratio of that": itself / (nnccs + 1),
        "the same x the teacher's norm": itself / (nnccs + 1) * norm,
        "the teacher's norm": norm,
        "LightQNet dm050": lightqnet.reindex(keys).to_numpy(np.float64),
    }


def _unit(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def main() -> None:
    """Print areas to 30 % discard x 1000."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--per-identity", type=int, default=10)
    arguments = parser.parse_args()
    keys, qualities = measures(arguments.work)
    _, _, judged = embeddings(arguments.work / f"mixed-{JUDGE}" / "quality")
    pairs = read_pairs(str(arguments.work / f"pairs-{arguments.per_identity}.txt"))
    place = {key: row for row, key in enumerate(keys)}
    rows = np.array([place[name] for name in pairs.names])
    comparisons = Comparisons.of(dissimilarities(judged[rows], pairs.a, pairs.b), pairs.mated)
    print(f"{len(pairs):,} pairs; area to 0.3 x 1000: crfiqa {FMRS}, fixed {FMRS}")
    for name, quality in qualities.items():
        own = quality[rows]
        order = QualityOrder.of(np.minimum(own[pairs.a], own[pairs.b]))
        curves = [curve for protocol in (edc.crfiqa, edc.fixed) for curve in protocol(comparisons, order, FMRS)]
        print(f"  {name:<36}" + "".join(f"{1e3 * curve.area(0.3):8.2f}" for curve in curves))


if __name__ == "__main__":
    main()
