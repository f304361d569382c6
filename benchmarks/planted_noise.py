"""Precision and recall of the detectors on real faces with planted noise.

    python -m benchmarks.planted_noise [--shards FOLDER] [--models FOLDER] [--network mobilefacenet edgeface]
        [--seeds 5] [--images 2396]

Planted, by seed: labels of 2, 5 and 10 % of the images swapped with another identity's; copies added of 4 % each:
the same bytes, nearly the same picture (eight kinds), blurred, and half occluded. Swapped labels are measured alone
and together with the copies. Quality is LightQNet's. What LFW itself holds (wrong labels, photographs of one moment)
counts as a mistake here.
"""

import argparse
import hashlib
import io
import tarfile
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageEnhance, ImageFilter

from benchmarks.faces import DEFAULT_SHARDS, shards
from fiqa_core.curation.embeddings import EmbeddingSource
from fiqa_core.curation.findings import Search, find
from fiqa_core.curation.findings_settings import FindingsSettings, NearSettings
from fiqa_core.curation.parts import find_parts
from fiqa_core.curation.tasks import run_here
from fiqa_core.images.phash import perceptual_hash
from schemas.quality import quality_schema

SHARE = 0.04
SWAPPED = (0.02, 0.05, 0.10)


class Face(NamedTuple):
    """An image's stored bytes, its true identity, which original it shows, and what was done to it."""

    data: bytes
    person: str
    original: int
    kind: str


def jpeg(image: Image.Image, quality: int = 90) -> bytes:
    """As stored bytes."""
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def _resized(image: Image.Image, random: np.random.Generator) -> bytes:
    side = int(random.integers(72, 100))
    return jpeg(image.resize((side, side), Image.Resampling.BILINEAR).resize((112, 112), Image.Resampling.BICUBIC))


def _cropped(image: Image.Image, random: np.random.Generator) -> bytes:
    left, top = random.integers(1, 5, size=2).tolist()
    return jpeg(image.crop((left, top, 112 - left, 112 - top)).resize((112, 112), Image.Resampling.BILINEAR))


def _shifted(image: Image.Image, random: np.random.Generator) -> bytes:
    across, down = random.integers(-3, 4, size=2).tolist()
    return jpeg(image.transform((112, 112), Image.Transform.AFFINE, (1, 0, across, 0, 1, down)))


def _patched(image: Image.Image, random: np.random.Generator, side: int) -> bytes:
    image = image.copy()
    left, top = random.integers(0, 112 - side, size=2).tolist()
    image.paste((128, 128, 128), (left, top, left + side, top + side))
    return jpeg(image)


def _half(image: Image.Image, random: np.random.Generator) -> bytes:
    image = image.copy()
    boxes = ((0, 0, 112, 60), (0, 56, 112, 112), (0, 0, 56, 112))
    image.paste((64, 64, 64), boxes[int(random.integers(len(boxes)))])
    return jpeg(image)


Change = Callable[[Image.Image, np.random.Generator], bytes]
NEAR: dict[str, Change] = {
    "re-encoded q50-90": lambda image, random: jpeg(image, int(random.integers(50, 90))),
    "resized": _resized,
    "cropped": _cropped,
    "shifted": _shifted,
    "brightness": lambda image, random: jpeg(ImageEnhance.Brightness(image).enhance(float(random.uniform(0.8, 1.25)))),
    "lightly blurred": lambda image, random: jpeg(
        image.filter(ImageFilter.GaussianBlur(float(random.uniform(0.5, 1))))
    ),
    "small patch": lambda image, random: _patched(image, random, 16),
    "mirrored": lambda image, _: jpeg(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)),
}
POOR: dict[str, Change] = {
    "blurred": lambda image, random: jpeg(image.filter(ImageFilter.GaussianBlur(float(random.uniform(3, 6))))),
    "occluded": _half,
}


def read_faces(folder: Path, count: int) -> list[Face]:
    """Stored images of the test shards with their identities."""
    faces: list[Face] = []
    for path in shards(folder, "test-*.tar"):
        with tarfile.open(path) as archive:
            people: dict[str, str] = {}
            for member in archive:
                stream = archive.extractfile(member)
                key, _, extension = member.name.rpartition(".")
                if stream is not None and extension == "cls":
                    people[key] = stream.read().decode()
                if stream is not None and extension == "jpg" and len(faces) < count:
                    faces.append(Face(stream.read(), people[key], len(faces), ""))
    return faces


def with_copies(faces: Sequence[Face], random: np.random.Generator) -> list[Face]:
    """Copies of some: equal bytes, near duplicates, blurred, occluded."""
    some = random.permutation(len(faces))
    count = round(SHARE * len(faces))
    added: list[Face] = []
    for number, place in enumerate(some[: 4 * count].tolist()):
        face = faces[place]
        kind = ("exact", "near", *POOR)[number // count]
        change: Change | None = None
        if kind == "near":
            kind = list(NEAR)[number % len(NEAR)]
            change = NEAR[kind]
        elif kind in POOR:
            change = POOR[kind]
        data = face.data if change is None else change(Image.open(io.BytesIO(face.data)).convert("RGB"), random)
        added.append(Face(data, face.person, place, kind))
    return added


class Network:
    """An ONNX face network: MobileFaceNet, EdgeFace, or LightQNet for quality."""

    def __init__(self, models: Path, name: str) -> None:
        import onnxruntime

        file = {"mobilefacenet": "fr_mobilefacenet", "edgeface": "fr_edgeface_xxs", "quality": "lightqnet-dm050"}[name]
        self._session = onnxruntime.InferenceSession(models / f"{file}.onnx")
        self._name = name

    def __call__(self, faces: Sequence[Face]) -> np.ndarray:
        """Embeddings float32 (n, d), or qualities (n, 1)."""
        size = 2 if self._name == "mobilefacenet" else 32
        found = []
        for start in range(0, len(faces), size):
            batch = np.stack([self._pixels(face.data) for face in faces[start : start + size]])
            padded = np.concatenate([batch, np.repeat(batch[-1:], size - len(batch), axis=0)])
            outputs = self._session.run(None, {self._session.get_inputs()[0].name: padded})
            found.append(np.reshape(outputs[0], (size, -1))[: len(batch)])
        return np.concatenate(found)

    def _pixels(self, data: bytes) -> np.ndarray:
        image = Image.open(io.BytesIO(data)).convert("RGB")
        if self._name == "quality":
            image = image.resize((96, 96), Image.Resampling.BILINEAR)
        pixels = np.asarray(image, np.float32)
        if self._name == "mobilefacenet":
            return (pixels - 127.5) / 128
        if self._name == "edgeface":
            return (pixels / 127.5 - 1).transpose(2, 0, 1)
        return (pixels[:, :, ::-1] - 128) / 128


def write_table(
    folder: Path, faces: Sequence[Face], labels: Sequence[str], quality: np.ndarray, embeddings: np.ndarray
) -> None:
    """A quality table with embeddings, as scoring writes it."""
    rows, dim = embeddings.shape
    schema = quality_schema("float32", dim)
    flat = pa.array(embeddings.astype(np.float32).ravel())
    columns = {
        "key": [f"{place:06d}" for place in range(rows)],
        "shard": pa.repeat("planted", rows),
        "index": np.arange(rows),
        "label": list(labels),
        "quality": quality.astype(np.float32).ravel(),
        "status": pa.array(["scored"] * rows).dictionary_encode(),
        "message": pa.nulls(rows, pa.string()),
        "width": np.full(rows, 112, np.int32),
        "height": np.full(rows, 112, np.int32),
        "sha256": [hashlib.sha256(face.data).digest() for face in faces],
        "embedding": pa.FixedSizeListArray.from_arrays(flat, type=schema.field("embedding").type),
    }
    hashes = [perceptual_hash(np.asarray(Image.open(io.BytesIO(face.data)).convert("RGB"))) for face in faces]
    table = pa.table(columns, schema=schema).append_column("phash", pa.array(hashes, pa.uint64()))
    folder.mkdir(parents=True)
    pq.write_table(table, folder / "part-000000.parquet")


class Found(NamedTuple):
    """Verdict of each row; near pairs."""

    verdict: np.ndarray
    pairs: set[tuple[int, int]]


def searched(
    faces: Sequence[Face], labels: Sequence[str], quality: np.ndarray, embeddings: np.ndarray, by: str = "both"
) -> Found:
    """The whole search; `by` says what makes a near duplicate, all else is the default."""
    with tempfile.TemporaryDirectory() as name:
        write_table(Path(name) / "quality", faces, labels, quality, embeddings)
        parts = find_parts([name])
        settings = FindingsSettings(near=NearSettings(by=by))
        found = find(Search(parts, len(faces), EmbeddingSource(), settings, str(Path(name) / "out"), 2), run_here)
        verdict = np.full(len(faces), "", object)
        for url in found.labels:
            table = pq.read_table(url)
            verdict[table["rid"].to_numpy()] = table["label_verdict"].to_numpy()
        tables = [pq.read_table(url) for url in found.pairs]
        pairs = {pair for table in tables for pair in zip(table["a"].to_pylist(), table["b"].to_pylist(), strict=True)}
    return Found(verdict, pairs)


def swapped(people: Sequence[str], share: float, random: np.random.Generator) -> list[str]:
    """Labels, some of them another identity's."""
    labels, names = list(people), sorted(set(people))
    for place in random.choice(len(people), round(share * len(people)), replace=False).tolist():
        labels[place] = names[int(random.integers(len(names) - 1))]
        if labels[place] == people[place]:
            labels[place] = names[-1]
    return labels


def precision_recall(said: np.ndarray, true: np.ndarray) -> tuple[float, float]:
    """Both in [0, 1]."""
    hits = int((said & true).sum())
    return hits / max(int(said.sum()), 1), hits / max(int(true.sum()), 1)


class Near:
    """Near duplicates planted and found, by kind; all pairs, and those of two different photographs."""

    def __init__(self) -> None:
        self.hit: Counter[str] = Counter()
        self.planted: Counter[str] = Counter()
        self.pairs = self.natural = 0

    def add(self, faces: Sequence[Face], found: Found) -> None:
        """One more search."""
        for place, face in enumerate(faces):
            if face.kind in NEAR:
                for kind in (face.kind, *(["all but mirrored"] if face.kind != "mirrored" else [])):
                    self.planted[kind] += 1
                    self.hit[kind] += (face.original, place) in found.pairs
        self.natural += sum(faces[a].original != faces[b].original for a, b in found.pairs)
        self.pairs += len(found.pairs)

    def recall(self, kind: str) -> float:
        """Share of the planted that were found."""
        return self.hit[kind] / max(self.planted[kind], 1)


def measure(network: str, models: Path, faces: list[Face], seeds: int) -> None:
    """All seeds; print the tables of one network."""
    embed, score = Network(models, network), Network(models, "quality")
    embeddings, quality = embed(faces), score(faces)
    results: dict[tuple[str, float], list[tuple[float, float]]] = {}
    near = {by: Near() for by in ("both", "cosine", "phash")}
    poor: Counter[tuple[str, str]] = Counter()
    for seed in range(seeds):
        random = np.random.default_rng(seed)
        added = with_copies(faces, random)
        every = [*faces, *added]
        both = np.concatenate([embeddings, embed(added)]), np.concatenate([quality, score(added)])
        for share in SWAPPED:
            for name, some in (("alone", faces), ("with copies", every)):
                people = [face.person for face in some]
                labels = swapped(people, share, random)
                found = searched(some, labels, both[1][: len(some)], both[0][: len(some)])
                wrong = np.array([label != person for label, person in zip(labels, people, strict=True)])
                score_pair = precision_recall(found.verdict == "wrong_label", wrong)
                results.setdefault((name, share), []).append(score_pair)
                if name == "with copies" and share == 0.05:
                    for by, count in near.items():
                        again = found if by == "both" else searched(some, labels, both[1], both[0], by)
                        count.add(some, again)
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
    kinds = [*NEAR, "all but mirrored"]
    print(f"\n| near duplicates by | {' | '.join(kinds)} | pairs | of two photographs |\n|{'---|' * (len(kinds) + 3)}")
    for by, count in near.items():
        shares = " | ".join(f"{count.recall(kind):.3f}" for kind in kinds)
        print(f"| {by} | {shares} | {count.pairs} | {count.natural} |")
    print(f"\nblurred and occluded copies with the right label: {dict(poor)}", flush=True)


def main() -> None:
    """Parse and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=Path, default=DEFAULT_SHARDS)
    parser.add_argument("--models", type=Path, default=DEFAULT_SHARDS.parent / "models")
    parser.add_argument("--network", nargs="+", default=["mobilefacenet", "edgeface"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--images", type=int, default=2396)
    arguments = parser.parse_args()
    faces = read_faces(arguments.shards, arguments.images)
    for network in arguments.network:
        measure(network, arguments.models, faces, arguments.seeds)


if __name__ == "__main__":
    main()
