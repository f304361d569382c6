"""The small real networks beside the checkout, by plain onnxruntime: two recognisers, and LightQNet's quality.

python -m benchmarks.onnx_faces --output FOLDER [--shards FOLDER] [--pattern 'test-*.tar'] [--models FOLDER]

writes a table of embeddings for each recogniser and of qualities for each LightQNet, in the quality table's columns.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.faces import DEFAULT_SHARDS, shards
from fiqa_core.images.preprocess import prepare
from fiqa_core.scoring.scorer import Scores
from fiqa_core.shards.plan import plan_dataset
from fiqa_core.shards.unit import ReadSettings
from fiqa_core.shards.webdataset import WebDataset
from pipelines import score_dataset

DEFAULT_MODELS = DEFAULT_SHARDS.parent / "models"
QUALITY = ("lightqnet-dm050", "lightqnet-dm025")
RECOGNISERS = {"mobilefacenet": "fr_mobilefacenet.onnx", "edgeface": "fr_edgeface_xxs.onnx"}


def session(path: Path) -> Any:
    """The network on the CPU."""
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def mobilefacenet(network: Any, pixels: np.ndarray) -> np.ndarray:
    """Embeddings, float32 (B, 192), not normalised, of uint8 RGB; its batch is fixed at two."""
    x = (pixels.astype(np.float32) - 127.5) / 128
    x = np.concatenate([x, x[: len(x) % 2]])
    name = network.get_inputs()[0].name
    return np.concatenate([network.run(None, {name: x[i : i + 2]})[0] for i in range(0, len(x), 2)])[: len(pixels)]


def edgeface(network: Any, pixels: np.ndarray) -> np.ndarray:
    """Embeddings, float32 (B, 512), not normalised, of uint8 RGB."""
    x = (pixels.astype(np.float32) / 127.5 - 1).transpose(0, 3, 1, 2)
    return np.asarray(network.run(None, {network.get_inputs()[0].name: np.ascontiguousarray(x)})[0])


class LightQNet:
    """LightQNet (Chen et al., IEEE Signal Processing Letters 2021): quality in [0, 1], higher = better."""

    batch_size = 32

    def __init__(self, path: Path) -> None:
        self._network = session(path)

    def score_pixels(self, pixels: np.ndarray) -> Scores:
        """Quality of uint8 RGB (B, 112, 112, 3): its input is BGR at 96 pixels, (x - 128) / 128."""
        x = np.stack([cv2.resize(face[..., ::-1], (96, 96)) for face in pixels]).astype(np.float32)
        found = self._network.run(None, {self._network.get_inputs()[0].name: (x - 128) / 128})[0]
        return Scores(np.asarray(found, np.float32).reshape(len(pixels)), None)


@dataclass(frozen=True)
class LightQNetSource:
    """Loads LightQNet in the worker."""

    name: str
    path: Path

    def load(self) -> LightQNet:
        """The scorer."""
        return LightQNet(self.path)


def embed(paths: list[Path], network: Any, of_pixels: Any, target: Path, workspace: Path) -> None:
    """Write key, label, sha256 and embedding of every image."""
    plan = plan_dataset([str(path) for path in paths], "webdataset", 1000, str(workspace), ReadSettings())
    rows = []
    for unit in plan.units:
        records = [record for record in WebDataset().read(unit, ReadSettings()) if record.data is not None]
        for start in range(0, len(records), 32):
            batch = records[start : start + 32]
            prepared = [prepare(record.data) for record in batch if record.data is not None]
            vectors = of_pixels(network, np.stack([face.pixels for face in prepared]))
            rows += [(record.key, record.label, vector) for record, vector in zip(batch, vectors, strict=True)]
    vectors = np.stack([vector for _, _, vector in rows]).astype(np.float32)
    embeddings = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
    columns = {"key": [row[0] for row in rows], "label": [row[1] for row in rows], "embedding": embeddings}
    pq.write_table(pa.table(columns), target, compression="zstd")


def main() -> None:
    """Run all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=Path, default=DEFAULT_SHARDS)
    parser.add_argument("--pattern", default="test-*.tar")
    parser.add_argument("--models", type=Path, default=DEFAULT_MODELS)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    paths = shards(arguments.shards, arguments.pattern)
    arguments.output.mkdir(parents=True, exist_ok=True)
    for name, file in RECOGNISERS.items():
        of_pixels = mobilefacenet if name == "mobilefacenet" else edgeface
        target = arguments.output / f"{name}.parquet"
        embed(paths, session(arguments.models / file), of_pixels, target, arguments.output / "_plan")
        print(target)
    for name in QUALITY:
        source = LightQNetSource(name, arguments.models / f"{name}.onnx")
        flags = ["--input", *map(str, paths), "--output", str(arguments.output / name), "--overwrite"]
        if code := score_dataset.run(flags, source):
            sys.exit(code)


if __name__ == "__main__":
    main()
