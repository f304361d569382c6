"""Precision and recall of the detectors on real faces with planted noise, as a user of filter_dataset gets them.

    python -m benchmarks.planted_noise [--shards FOLDER] [--models FOLDER] [--network mobilefacenet edgeface]
        [--split test] [--least-images 1] [--seeds 5] [--images N] [--show FOLDER]
    python -m benchmarks.planted_noise --originals --seeds 2

Planted, by seed: labels of 2, 5 and 10 % of the images swapped with another identity's; copies added of 4 % each:
the same bytes, nearly the same picture (eight kinds), blurred, and half occluded. Swapped labels are measured alone
and together with the copies. Quality is LightQNet's. The defaults were chosen on the train split.

A near pair is right where both rows show one photograph: a copy, however poor, and its original or another copy of
it; and the pairs of `SAME_PHOTOGRAPH`, which LFW itself holds twice. Every other pair of two photographs counts as a
mistake; --show writes these and those as pictures, side by side.

--originals counts something else: how often the original stays beside an altered copy (`planted_originals.py`).
"""

import argparse
import contextlib
import io
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.faces import DEFAULT_SHARDS
from benchmarks.planted_faces import (
    NEAR,
    POOR,
    Face,
    Network,
    read_faces,
    side_by_side,
    swapped,
    with_copies,
    write_table,
)
from fiqa_core.curation.findings.search import Search, find
from fiqa_core.curation.findings.settings import FindingsSettings, NearSettings
from fiqa_core.curation.findings.tasks import run_here
from fiqa_core.tables.embedding_files import EmbeddingSource
from fiqa_core.tables.quality_files import find_parts
from pipelines import filter_dataset

SWAPPED = (0.02, 0.05, 0.10)
WAYS = ("picture", "cosine", "phash")
# Of the test split in its order: numbers of images that show one photograph twice, judged by eye.
SAME_PHOTOGRAPH = frozenset(
    [
        *((35, 2133), (57, 2217), (64, 1941), (254, 1091), (411, 1967), (538, 590)),
        *((602, 758), (713, 1978), (790, 1920), (1359, 2365), (1823, 2117)),
    ]
)


class Found(NamedTuple):
    """Verdict of each row; near pairs; reason (empty: kept) of each row, and the row it is a duplicate of (-1)."""

    verdict: np.ndarray
    pairs: set[tuple[int, int]]
    reason: np.ndarray
    duplicate_of: np.ndarray


def searched(
    faces: Sequence[Face],
    labels: Sequence[str],
    quality: np.ndarray,
    embeddings: np.ndarray,
    near: NearSettings | None = None,
    decide: bool = False,
) -> Found:
    """The whole search and, if asked for, the decisions; all else is the default."""
    rows = len(faces)
    verdict, reason = np.full(rows, "", object), np.full(rows, "", object)
    duplicate_of = np.full(rows, -1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_table(folder / "quality", faces, labels, quality, embeddings)
        settings = FindingsSettings(near=near or NearSettings())
        found = find(Search(find_parts([name]), rows, EmbeddingSource(), settings, str(folder / "out"), 2), run_here)
        for url in found.labels:
            table = pq.read_table(url)
            verdict[table["rid"].to_numpy()] = table["label_verdict"].to_numpy()
        tables = [pq.read_table(url) for url in found.pairs]
        pairs = {pair for table in tables for pair in zip(table["a"].to_pylist(), table["b"].to_pylist(), strict=True)}
        if decide:
            decisions = decided(folder)
            reason = np.array(decisions["reason"].cast("string").fill_null("").to_pylist(), object)
            duplicate_of = np.array(decisions["duplicate_of_index"].fill_null(-1).to_pylist())
    return Found(verdict, pairs, reason, duplicate_of)


def decided(folder: Path) -> pa.Table:
    """The decisions of one policy: wrong labels go, and of what is there twice, exactly or nearly, the best stays."""
    options = ["--drop-wrong-labels", "--exact-duplicates", "all", "--near-duplicates", "all"]
    command = ["--quality", folder / "quality", "--findings", folder / "out" / "findings", "--output", folder / "kept"]
    with contextlib.redirect_stdout(io.StringIO()):
        code = filter_dataset.run([str(word) for word in [*command, *options]])
    if code != filter_dataset.EXIT_OK:
        raise SystemExit("filter_dataset failed; its message is above")
    return pq.read_table(folder / "kept" / "decisions")


def precision_recall(said: np.ndarray, true: np.ndarray) -> tuple[float, float]:
    """Both in [0, 1]."""
    hits = int((said & true).sum())
    return hits / max(int(said.sum()), 1), hits / max(int(true.sum()), 1)


Known = frozenset[tuple[int, int]]


def one_photograph(one: Face, other: Face, known: Known) -> bool:
    """Whether two rows show the same photograph; `known`: pairs of images that do."""
    low, high = sorted((one.original, other.original))
    return low == high or (low, high) in known


class Near:
    """Near duplicates planted and found, by kind; pairs that were found, and what they show."""

    def __init__(self, known: Known) -> None:
        self._known = known
        self.hit: Counter[str] = Counter()
        self.planted: Counter[str] = Counter()
        self.pairs: Counter[str] = Counter()

    def add(self, faces: Sequence[Face], found: Found) -> None:
        """One more search."""
        for place, face in enumerate(faces):
            if face.kind in NEAR:
                self.planted.update((face.kind, "all"))
                self.hit.update((face.kind, "all") if (face.original, place) in found.pairs else ())
        for a, b in found.pairs:
            one, other = faces[a], faces[b]
            natural = "natural" if one.original != other.original else "planted"
            self.pairs[natural if one_photograph(one, other, self._known) else "two photographs"] += 1

    def row(self) -> str:
        """Recall by kind and in all, precision, and the pairs by what they show."""
        recall = [f"{self.hit[kind] / max(self.planted[kind], 1):.3f}" for kind in (*NEAR, "all")]
        right = self.pairs["natural"] + self.pairs["planted"]
        precision = right / max(self.pairs.total(), 1)
        return " | ".join([*recall, f"{precision:.3f}", *(str(self.pairs[kind]) for kind in PAIRS)])


PAIRS = ("planted", "natural", "two photographs")


class Decided:
    """What the policy did with all that was planted, added up over the seeds."""

    def __init__(self, known: Known) -> None:
        self._known = known
        self.counts: Counter[tuple[str, str]] = Counter()

    def add(self, faces: Sequence[Face], wrong: np.ndarray, found: Found) -> None:
        """One more table. A planted copy is found where it and its original are not both kept."""
        said = found.reason == "wrong_label"
        self._count("wrong_label", int((said & wrong).sum()), int((said & ~wrong).sum()), int((~said & wrong).sum()))
        for name, kinds in (("duplicate_exact", ("exact",)), ("duplicate_near", tuple(NEAR))):
            rows = np.flatnonzero(found.reason == name).tolist()
            others = [found.duplicate_of[row] for row in rows]
            if name == "duplicate_exact":
                right = sum(faces[row].data == faces[other].data for row, other in zip(rows, others, strict=True))
            else:
                right = sum(
                    one_photograph(faces[row], faces[other], self._known)
                    for row, other in zip(rows, others, strict=True)
                )
            copies = [(face.original, place) for place, face in enumerate(faces) if face.kind in kinds]
            missed = sum(not found.reason[a] and not found.reason[b] for a, b in copies)
            self._count(name, right, len(rows) - right, missed)
            self.counts[name, "planted"] += len(copies)
        for place, face in enumerate(faces):
            if face.kind in POOR and not wrong[place]:
                self.counts[f"{face.kind}, right label", found.reason[place] or "kept"] += 1

    def _count(self, name: str, right: int, false: int, missed: int) -> None:
        self.counts[name, "right"] += right
        self.counts[name, "false"] += false
        self.counts[name, "missed"] += missed
        if name == "wrong_label":
            self.counts[name, "planted"] += right + missed

    def show(self) -> None:
        """Print the table."""
        print(
            "\n| reason | planted | found | missed | dropped, right | false | precision | recall |\n|---|" + "---|" * 7
        )
        for name in ("wrong_label", "duplicate_exact", "duplicate_near"):
            planted, right, false, missed = (
                self.counts[name, part] for part in ("planted", "right", "false", "missed")
            )
            precision, recall = right / max(right + false, 1), 1 - missed / max(planted, 1)
            cells = (planted, planted - missed, missed, right, false, f"{precision:.4f}", f"{recall:.4f}")
            print(f"| {name} | {' | '.join(map(str, cells))} |")
        poor = {key: count for key, count in sorted(self.counts.items()) if key[0].endswith("right label")}
        print(f"\npoor copies with the right label: {poor}", flush=True)


def measure(network: str, models: Path, faces: list[Face], seeds: int, known: Known, show: Path | None) -> None:
    """All seeds; print the tables of one network."""
    embed, score = Network(models, network), Network(models, "quality")
    embeddings, quality = embed(faces), score(faces)
    results: dict[tuple[str, float], list[tuple[float, float]]] = {}
    near, decisions = {way: Near(known) for way in WAYS}, Decided(known)
    poor: Counter[tuple[str, str]] = Counter()
    natural: set[tuple[int, int]] = set()
    for seed in range(seeds):
        random = np.random.default_rng(seed)
        added = with_copies(faces, random)
        every = [*faces, *added]
        both = np.concatenate([embeddings, embed(added)]), np.concatenate([quality, score(added)])
        for share in SWAPPED:
            for name, some in (("alone", faces), ("with copies", every)):
                people = [face.person for face in some]
                labels = swapped(people, share, random)
                is_main = name == "with copies" and share == 0.05
                found = searched(some, labels, both[1][: len(some)], both[0][: len(some)], decide=is_main)
                wrong = np.array([label != person for label, person in zip(labels, people, strict=True)])
                score_pair = precision_recall(found.verdict == "wrong_label", wrong)
                results.setdefault((name, share), []).append(score_pair)
                if is_main:
                    decisions.add(some, wrong, found)
                    for way, count in near.items():
                        settings = NearSettings(way)
                        again = found if way == "picture" else searched(some, labels, both[1], both[0], settings)
                        count.add(some, again)
                    natural |= {tuple(sorted((some[a].original, some[b].original))) for a, b in found.pairs}
                    for place, face in enumerate(some):
                        if face.kind in POOR and not wrong[place]:
                            poor[face.kind, str(found.verdict[place])] += 1
    print(f"\n## {network}, {len(faces)} faces, {seeds} seeds\n")
    print("| swapped labels | precision, mean | worst | recall, mean | worst |\n|---|---|---|---|---|")
    for (name, share), values in results.items():
        precision, recall = zip(*values, strict=True)
        print(
            f"| {share:.0%} {name} | {np.mean(precision):.4f} | {min(precision):.4f} "
            f"| {np.mean(recall):.4f} | {min(recall):.4f} |"
        )
    columns = [*NEAR, "all", "precision", *(f"pairs: {kind}" for kind in PAIRS)]
    print(f"\n| near duplicates by | {' | '.join(columns)} |\n|{'---|' * (len(columns) + 1)}")
    for way, count in near.items():
        print(f"| {way} | {count.row()} |")
    natural = {(a, b) for a, b in natural if a != b}
    print(f"\npairs of two images of LFW: {sorted(natural)}")
    print(f"verdicts on blurred and occluded copies with the right label: {dict(poor)}")
    decisions.show()
    if show is not None:
        side_by_side(faces, sorted(natural), show / f"{network}.png")


def main() -> None:
    """Parse and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=Path, default=DEFAULT_SHARDS)
    parser.add_argument("--models", type=Path, default=DEFAULT_SHARDS.parent / "models")
    parser.add_argument("--network", nargs="+", default=["mobilefacenet", "edgeface"])
    parser.add_argument("--split", choices=("test", "train"), default="test")
    parser.add_argument("--least-images", type=int, default=1, help="leave identities with fewer out")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--show", type=Path, help="folder for pictures of the pairs that LFW itself holds")
    parser.add_argument(
        "--originals", action="store_true", help="only count the originals that stay beside their copies"
    )
    arguments = parser.parse_args()
    faces = read_faces(arguments.shards, arguments.images, arguments.split, arguments.least_images)
    if arguments.originals:
        from benchmarks.planted_originals import count_originals

        count_originals(faces, arguments.models, arguments.seeds)
        return
    is_known = arguments.split == "test" and arguments.least_images == 1
    known = SAME_PHOTOGRAPH if is_known else frozenset()
    for network in arguments.network:
        measure(network, arguments.models, faces, arguments.seeds, known, arguments.show)


if __name__ == "__main__":
    main()
