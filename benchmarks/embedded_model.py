"""The package's own small network against what it has to beat, on LFW identities that its training never saw.

python -m benchmarks.embedded_model --output FOLDER [--checkpoint FILE] [--bootstrap 200]

1. Error versus discard: `benchmarks.edc_faces` (natural test split and a mixed-quality copy, judged by EdgeFace, which
   was not the teacher), then the areas to 30 % discard with 95 % bands, which bands overlap the network's own, and
   bands of the *differences* over the same resampled subjects: with 159 subjects most of a band is which of them were
   drawn, and that is the same for two measures.
2. Monotony: test faces degraded in one way at rising severity; Spearman's rank correlation between severity and
   falling score, for each face by itself (mean) and over all faces together.
3. Spearman's rank correlation with the judge's *utility* of an image (mean similarity to the other images of its person
   less that to the most similar other person) on natural faces, with 95 % bands over resampled subjects.
4. Speed of score_dataset over the test split, decoding and hashing included, and the size of the file.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from benchmarks.faces import DEFAULT_SHARDS, pixels, shards
from fiqa_core.evaluation import edc
from fiqa_core.evaluation.bootstrap import INTERVAL, Resampling, subjects_of
from fiqa_core.evaluation.comparisons import Comparisons, dissimilarities
from fiqa_core.evaluation.discarding import QualityOrder
from fiqa_core.evaluation.pairs import read_pairs
from fiqa_core.images.degradations import DEGRADATIONS
from fiqa_core.models import EMBEDDED, read_embedded
from fiqa_core.scoring.scorer import QualityScorer
from pipelines import score_dataset

OWN = "embedded"
JUDGE, TEACHER = "edgeface", "mobilefacenet"
MEASURED = (OWN, "laplacian", "lightqnet-dm050", "lightqnet-dm025")
FMRS = (1e-2, 1e-3)
MUST_BEAT = ("random", "laplacian", f"norm-{JUDGE}")
SEVERITIES = np.linspace(0, 1, 11)
SEED = 4242  # of the ladder; training and the mixed copy have others


def areas(work: Path, checkpoint: str, bootstrap: int, per_identity: int) -> pd.DataFrame:
    """Areas of all measures, judged by EdgeFace, best first in each block."""
    command = ["-m", "benchmarks.edc_faces", "--output", str(work), "--checkpoint", f"{OWN}={checkpoint}"]
    command += ["--bootstrap", str(bootstrap), "--per-identity", str(per_identity)]
    subprocess.run([sys.executable, *command], check=True, stdout=sys.stderr)
    table = pd.read_csv(work / f"edc-{per_identity}" / "auc.csv")
    table = table[(table.fr_model == JUDGE) & table.fmr.isin(FMRS)]
    order = ["dataset", "protocol", "fmr", "auc_30"]
    return table[[*order[:3], "method", "fnmr", "auc_30", "auc_30_low", "auc_30_high"]].sort_values(order)


def differences(work: Path, dataset: str, replicates: int, per_identity: int) -> pd.DataFrame:
    """Area of each measure less the network's own, with a 95 % band over resampled subjects; above 0 = worse."""
    judge = pq.read_table(f"{work}/{dataset}-{JUDGE}/quality", columns=["key", "label", "embedding"])
    place = {key: row for row, key in enumerate(judge["key"].to_pylist())}
    vectors = np.array(judge["embedding"].to_pylist(), np.float32)
    pairs = read_pairs(str(work / f"pairs-{per_identity}.txt"))
    rows = np.array([place[name] for name in pairs.names])
    labels = judge["label"].to_pylist()
    comparisons = Comparisons.of(dissimilarities(vectors[rows], pairs.a, pairs.b), pairs.mated)
    quality = {f"norm-{JUDGE}": np.linalg.norm(vectors, axis=1)[rows].astype(np.float64)}
    for name in MEASURED:
        table = pd.read_parquet(work / f"{dataset}-{name}" / "quality").set_index("key").quality
        quality[name] = table.reindex(pairs.names).to_numpy(np.float64)
    quality["random"] = np.random.default_rng(SEED).random(len(rows))
    orders = {name: QualityOrder.of(np.minimum(of[pairs.a], of[pairs.b])) for name, of in quality.items()}
    subjects = subjects_of(pairs, [labels[row] for row in rows])
    samples = [_areas_by(comparisons, orders, None)]
    samples += [_areas_by(comparisons, orders, copies) for copies in Resampling(subjects, replicates).copies(pairs)]
    whole, *resampled = (sample.sub(sample[OWN], axis=0).drop(columns=OWN) for sample in samples)
    stacked = np.stack([sample.to_numpy() for sample in resampled])
    low, high = np.nanquantile(stacked, INTERVAL, axis=0)
    parts = {"difference": whole.to_numpy(), "low": low, "high": high}
    made = {name: pd.DataFrame(1e3 * of, whole.index, whole.columns).stack() for name, of in parts.items()}
    return pd.DataFrame(made)


def utilities(work: Path, dataset: str, replicates: int) -> pd.DataFrame:
    """Spearman of each measure with an image's utility to the judge, and its 95 % band over resampled subjects."""
    judge = pq.read_table(f"{work}/{dataset}-{JUDGE}/quality", columns=["key", "label", "embedding"])
    keys, classes = judge["key"].to_pylist(), pd.factorize(judge["label"].to_pandas())[0]
    utility = image_utility(np.array(judge["embedding"].to_pylist(), np.float64), classes)
    teacher = pq.read_table(f"{work}/{dataset}-{TEACHER}/quality", columns=["key", "embedding"]).to_pandas()
    quality = {f"norm-{TEACHER}": teacher.set_index("key").embedding.map(np.linalg.norm).reindex(keys).to_numpy()}
    for name in MEASURED:
        table = pd.read_parquet(work / f"{dataset}-{name}" / "quality").set_index("key").quality
        quality[name] = table.reindex(keys).to_numpy(np.float64)
    random, of_person = np.random.default_rng(SEED), [np.flatnonzero(classes == one) for one in range(max(classes) + 1)]
    drawn = [
        np.concatenate([of_person[one] for one in random.integers(0, len(of_person), len(of_person))])
        for _ in range(replicates)
    ]
    rows = []
    for name, of in quality.items():
        band = np.quantile([_spearman(of[chosen], utility[chosen]) for chosen in drawn], INTERVAL)
        rows.append((name, _spearman(of, utility), *band))
    return pd.DataFrame(rows, columns=["measure", "spearman", "low", "high"]).sort_values("spearman", ascending=False)


def image_utility(embeddings: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Mean cosine to the other images of the person less the largest to another person's, float64 (N,)."""
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    cosines, same = unit @ unit.T, classes[:, None] == classes
    impostor = np.where(same, -1, cosines).max(1)
    np.fill_diagonal(same, False)
    genuine = np.where(same, cosines, 0).sum(1) / np.maximum(same.sum(1), 1)
    return np.asarray(genuine - impostor)


def _areas_by(comparisons: Comparisons, orders: dict[str, QualityOrder], copies: np.ndarray | None) -> pd.DataFrame:
    found = {
        name: {
            (curve.protocol, curve.fmr): curve.area(0.3)
            for protocol in (edc.crfiqa, edc.fixed)
            for curve in protocol(comparisons, order, FMRS, copies, allow_unmeasurable=copies is not None)
        }
        for name, order in orders.items()
    }
    return pd.DataFrame(found)


def print_bar(table: pd.DataFrame) -> None:
    """Whether the areas on the mixed copy are where they should be."""
    mixed = table[table.dataset == "mixed"].set_index(["protocol", "fmr", "method"])
    print(f"\nbar on the mixed copy (bands apart from {', '.join(MUST_BEAT)}; area at most LightQNet's):")
    for protocol, fmr in sorted({key[:2] for key in mixed.index}):
        own = mixed.loc[(protocol, fmr, OWN)]
        missed = [name for name in MUST_BEAT if not own.auc_30_high < mixed.loc[(protocol, fmr, name), "auc_30_low"]]
        missed += ["lightqnet-dm050"] * bool(own.auc_30 > mixed.loc[(protocol, fmr, "lightqnet-dm050"), "auc_30"])
        print(f"  {protocol}, FMR {fmr:g}: {'met' if not missed else 'missed: ' + ', '.join(missed)}")


def print_areas(table: pd.DataFrame) -> None:
    """One block a dataset, protocol and FMR, areas x 1000, with the verdict against the network's band."""
    for (dataset, protocol, fmr), block in table.groupby(["dataset", "protocol", "fmr"]):
        own = block[block.method == OWN].iloc[0]
        print(f"\n{dataset}, protocol {protocol}, FMR {fmr:g}: FNMR {own.fnmr:.4f}; area to 0.3 x 1000 [95 % band]")
        for row in block.itertuples():
            verdict = ""
            if row.method != OWN and row.method != "oracle":
                worse = "worse" if row.auc_30 > own.auc_30 else "better"
                apart = row.auc_30_low > own.auc_30_high or row.auc_30_high < own.auc_30_low
                verdict = f"{worse} than {OWN}" + (", bands apart" if apart else ", bands overlap")
            band = f"[{1e3 * row.auc_30_low:6.2f} {1e3 * row.auc_30_high:6.2f}]"
            print(f"  {row.method:<20}{1e3 * row.auc_30:7.2f}  {band}  {verdict}")


def monotony(scorer: QualityScorer, faces: np.ndarray) -> pd.DataFrame:
    """Spearman by kind: `each` the mean over faces, `tenth` their lowest tenth, `all` of all scores together."""
    rows = []
    for kind, degrade in DEGRADATIONS.items():
        scores = np.empty((len(faces), len(SEVERITIES)))
        for place, face in enumerate(faces):
            ladder = [degrade(face, float(s), np.random.default_rng([SEED, place])) for s in SEVERITIES]
            scores[place] = scorer.score_pixels(np.stack(ladder)).quality
        each = np.array([_spearman(-row, SEVERITIES) for row in scores])
        together = _spearman(-scores.ravel(), np.tile(SEVERITIES, len(faces)))
        rows.append((kind, each.mean(), np.quantile(each, 0.1), together, *scores.mean(0)[[0, 5, 10]]))
    return pd.DataFrame(rows, columns=["kind", "each", "tenth", "all", "score at 0", "at 0.5", "at 1"])


def _spearman(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(pd.Series(a).rank(), pd.Series(b).rank())[0, 1])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--checkpoint", help="another network than the package's own")
    parser.add_argument("--bootstrap", type=int, default=200)
    parser.add_argument("--per-identity", type=int, default=10)
    parser.add_argument("--faces", type=int, default=200, help="test faces of the monotony ladders")
    arguments = parser.parse_args()
    work: Path = arguments.output
    work.mkdir(parents=True, exist_ok=True)
    own = work / "embedded.safetensors"
    if not arguments.checkpoint:
        own.write_bytes(read_embedded())
    checkpoint = arguments.checkpoint or str(own)

    paths = shards(DEFAULT_SHARDS, "test-*.tar")
    flags = ["--input", *map(str, paths), "--output", str(work / "speed"), "--model", checkpoint, "--overwrite"]
    if code := score_dataset.run(flags):
        raise SystemExit(code)
    speed = json.loads((work / "speed" / "summary.json").read_text())["images_per_second"]
    print(f"score_dataset: {speed} images/s; file {Path(checkpoint).stat().st_size / 1e6:.2f} MB")

    scorer = QualityScorer.from_checkpoint(arguments.checkpoint or EMBEDDED)
    ladder = monotony(scorer, pixels(paths, arguments.faces))
    print(f"\nSpearman of severity and falling score, {arguments.faces} test faces, {len(SEVERITIES)} severities:")
    print(ladder.to_string(index=False, float_format="{:.3f}".format))

    table = areas(work, checkpoint, arguments.bootstrap, arguments.per_identity)
    table.to_csv(work / "areas.csv", index=False)
    print_areas(table)
    print_bar(table)
    for dataset in ("mixed", "natural"):
        apart = differences(work, dataset, arguments.bootstrap, arguments.per_identity)
        print(
            f"\n{dataset}: area to 0.3 x 1000 less the network's own, over the same subjects (above 0 = worse than it):"
        )
        print(apart.to_string(float_format="{:.2f}".format))
    print("\nnatural: Spearman with the judge's utility of an image, 95 % band over resampled subjects:")
    print(utilities(work, "natural", arguments.bootstrap).to_string(index=False, float_format="{:.3f}".format))


if __name__ == "__main__":
    main()
