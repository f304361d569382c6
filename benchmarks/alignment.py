"""How well and how fast faces are aligned: the figures of docs/alignment.md.

python -m benchmarks.alignment --photos FOLDER --recogniser FILE.onnx [--detector FILE.onnx] [--onnx-std 128]

FOLDER has photographs by identity (`<identity>/*.jpg`), such as LFW's originals. Detectors compared: that of extra
`align`, and the one of --detector. `plain` is `cv2.FaceDetectorYN` alone, the face nearest the centre.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from fiqa_core.alignment.detector import FaceDetector
from fiqa_core.alignment.detector_file import PACKAGED, read_detector
from fiqa_core.alignment.face import Face
from fiqa_core.alignment.template import to_template, warp
from fiqa_core.networks.onnx_input import OnnxOptions
from fiqa_core.networks.onnx_network import OnnxNetwork
from fiqa_core.networks.onnx_session import read_onnx

Landmarks = Callable[[np.ndarray], np.ndarray]
_FMR = 1e-3
_MOST_TURN = 25.0  # degrees


def main() -> None:
    """Print a table: spread of the landmarks, recognition upright and turned, CPU time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--recogniser", required=True)
    parser.add_argument("--onnx-std", type=float, default=127.5)
    parser.add_argument("--detector")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    files = sorted(arguments.photos.glob("*/*.jpg"))
    photos = [np.ascontiguousarray(cv2.imread(str(file))[:, :, ::-1]) for file in files]
    labels = np.array([file.parent.name for file in files])
    angles = np.random.default_rng(0).uniform(-_MOST_TURN, _MOST_TURN, len(photos))
    leaning = [turned(photo, angle) for photo, angle in zip(photos, angles, strict=True)]
    larger = [cv2.resize(photo, None, fx=1.28, fy=1.28) for photo in photos]
    network = OnnxNetwork(read_onnx(arguments.recogniser), OnnxOptions(std=(arguments.onnx_std,)))
    name = Path(arguments.recogniser).name
    print(f"{len(photos)} photographs, {len(set(labels))} people; FNMR at FMR {_FMR:g} by {name}")
    print(f"| detector | spread | FNMR | turned by up to {_MOST_TURN:g} degrees | CPU ms a picture |")
    print("|---|---|---|---|---|")
    for uri in [PACKAGED, *([arguments.detector] if arguments.detector else [])]:
        detector = FaceDetector(read_detector(uri))
        for name, find in (("plain", plain(uri)), ("as here", as_here(detector))):
            started = time.process_time()
            found = [find(photo) for photo in photos]
            spent = (time.process_time() - started) / len(photos) * 1000
            elsewhere = [(find(photo) + 0.5) / 1.28 - 0.5 for photo in larger]
            spread = np.median([difference(a, b) for a, b in zip(found, elsewhere, strict=True)])
            upright = fnmr(network, photos, found, labels)
            lean = fnmr(network, leaning, [find(photo) for photo in leaning], labels)
            print(f"| {Path(uri).name}, {name} | {spread:.1%} | {upright:.2%} | {lean:.2%} | {spent:.1f} |")


def plain(uri: str) -> Landmarks:
    """Landmarks by FaceDetectorYN with suppression, in one look."""
    data = np.frombuffer(read_detector(uri).data, np.uint8)
    network = cv2.FaceDetectorYN.create("onnx", data, np.empty(0, np.uint8), (320, 320), 0.6, 0.3, 50)

    def find(pixels: np.ndarray) -> np.ndarray:
        network.setInputSize(pixels.shape[1::-1])
        rows = network.detect(cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))[1]
        faces = [Face(row[:4].astype(float), row[4:14].reshape(5, 2).astype(float), row[14]) for row in rows]
        return central(faces, pixels).landmarks

    return find


def as_here(detector: FaceDetector) -> Landmarks:
    """Landmarks as alignment uses them."""
    return lambda pixels: detector.refine(pixels, central(detector.detect(pixels), pixels)).landmarks


def central(faces: list[Face], pixels: np.ndarray) -> Face:
    """The face nearest the middle."""
    middle = (np.array(pixels.shape[1::-1]) - 1) / 2
    return min(faces, key=lambda face: float(np.hypot(*(face.centre - middle))))


def difference(ours: np.ndarray, other: np.ndarray) -> float:
    """Mean distance of landmarks as a share of the distance between the eyes."""
    return float(np.hypot(*(ours - other).T).mean() / np.hypot(*(other[1] - other[0])))


def turned(pixels: np.ndarray, degrees: float) -> np.ndarray:
    """The picture turned clockwise about its middle."""
    height, width = pixels.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), -degrees, 1)
    return np.asarray(cv2.warpAffine(pixels, matrix, (width, height)))


def fnmr(network: OnnxNetwork, photos: list[np.ndarray], found: list[np.ndarray], labels: np.ndarray) -> float:
    """Share of the pairs of one person below the cosine that `_FMR` of the pairs of two people reach."""
    crops = np.stack([warp(photo, to_template(each)) for photo, each in zip(photos, found, strict=True)])
    size = network.input.batch or 16
    parts = [network.forward(crops[start : start + size]) for start in range(0, len(crops), size)]
    vectors = np.concatenate(parts)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    a, b = np.triu_indices(len(vectors), 1)
    cosines, same = (vectors[a] * vectors[b]).sum(axis=1), labels[a] == labels[b]
    return float((cosines[same] < np.quantile(cosines[~same], 1 - _FMR)).mean())


if __name__ == "__main__":
    main()
