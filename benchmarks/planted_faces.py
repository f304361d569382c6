"""Real faces with planted noise: swapped labels; exact, near, blurred and half occluded copies."""

import hashlib
import io
import tarfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

from benchmarks.faces import shards
from fiqa_core.images.phash import perceptual_hash
from fiqa_core.images.preprocess import prepare
from fiqa_core.images.quantisation import quantisation_step
from fiqa_core.images.thumbnail import thumbnail
from schemas.quality import quality_schema

SHARE = 0.04


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


def read_faces(folder: Path, count: int, split: str = "test", least: int = 1) -> list[Face]:
    """Stored images of a split's shards, of identities with at least `least` of them."""
    held: list[tuple[bytes, str]] = []
    for path in shards(folder, f"{split}-*.tar"):
        with tarfile.open(path) as archive:
            people: dict[str, str] = {}
            for member in archive:
                stream = archive.extractfile(member)
                key, _, extension = member.name.rpartition(".")
                if stream is not None and extension == "cls":
                    people[key] = stream.read().decode()
                if stream is not None and extension == "jpg":
                    held.append((stream.read(), people[key]))
    images = Counter(person for _, person in held)
    chosen = [(data, person) for data, person in held if images[person] >= least][:count]
    return [Face(data, person, number, "") for number, (data, person) in enumerate(chosen)]


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


def swapped(people: Sequence[str], share: float, random: np.random.Generator) -> list[str]:
    """Labels, some of them another identity's."""
    labels, names = list(people), sorted(set(people))
    for place in random.choice(len(people), round(share * len(people)), replace=False).tolist():
        labels[place] = names[int(random.integers(len(names) - 1))]
        if labels[place] == people[place]:
            labels[place] = names[-1]
    return labels


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
        image = Image.fromarray(prepare(data).pixels)
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
    prepared = [prepare(face.data) for face in faces]
    schema = quality_schema("float32", dim, phash=True)
    flat = pa.array(embeddings.astype(np.float32).ravel())
    columns = {
        "key": [f"{place:06d}" for place in range(rows)],
        "shard": pa.repeat("planted", rows),
        "index": np.arange(rows),
        "label": list(labels),
        "quality": quality.astype(np.float32).ravel(),
        "status": pa.array(["scored"] * rows).dictionary_encode(),
        "message": pa.nulls(rows, pa.string()),
        "width": [image.width for image in prepared],
        "height": [image.height for image in prepared],
        "bytes": [len(face.data) for face in faces],
        "quantisation": pa.array([quantisation_step(face.data) for face in faces], pa.float32()),
        "sha256": [hashlib.sha256(face.data).digest() for face in faces],
        "embedding": pa.FixedSizeListArray.from_arrays(flat, type=schema.field("embedding").type),
    }
    columns["phash"] = [f"{perceptual_hash(image.pixels):016x}" for image in prepared]
    columns["thumb"] = [thumbnail(image.pixels) for image in prepared]
    folder.mkdir(parents=True)
    pq.write_table(pa.table(columns, schema=schema), folder / "part-000000.parquet")


def side_by_side(faces: Sequence[Face], pairs: Sequence[tuple[int, int]], path: Path) -> None:
    """One PNG, a pair a row, with the numbers of its images."""
    sheet = Image.new("RGB", (340, 112 * max(len(pairs), 1)))
    for row, pair in enumerate(pairs):
        for column, number in enumerate(pair):
            sheet.paste(Image.open(io.BytesIO(faces[number].data)).convert("RGB"), (112 * column, 112 * row))
        ImageDraw.Draw(sheet).text((230, 112 * row + 50), f"{pair[0]}, {pair[1]}")
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)
