"""A mixed-quality copy of aligned faces, as XQLFW makes one of LFW: half untouched, the others degraded, seeded.

python -m benchmarks.mixed_quality --output FOLDER [--shards FOLDER] [--pattern 'test-*.tar'] [--seed 0]
"""

import argparse
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from benchmarks.faces import DEFAULT_SHARDS, shards

_Degrade = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]


def down_sampled(face: np.ndarray, severity: float, _: np.random.Generator) -> np.ndarray:
    """To 44 .. 14 pixels and back."""
    side = round(44 - 30 * severity)
    small = cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, face.shape[1::-1], interpolation=cv2.INTER_CUBIC)


def blurred(face: np.ndarray, severity: float, _: np.random.Generator) -> np.ndarray:
    """Gaussian of 1 .. 4 pixels."""
    return cv2.GaussianBlur(face, (0, 0), 1 + 3 * severity)


def motion_blurred(face: np.ndarray, severity: float, random: np.random.Generator) -> np.ndarray:
    """A line of 5 .. 19 pixels in any direction."""
    length = round(5 + 14 * severity)
    kernel = np.zeros((length, length), np.float32)
    kernel[length // 2] = 1
    turn = cv2.getRotationMatrix2D(((length - 1) / 2, (length - 1) / 2), float(random.uniform(0, 180)), 1)
    kernel = cv2.warpAffine(kernel, turn, (length, length))
    return cv2.filter2D(face, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT)


def noisy(face: np.ndarray, severity: float, random: np.random.Generator) -> np.ndarray:
    """Gaussian noise of 10 .. 60 grey levels."""
    noise = random.normal(0, 10 + 50 * severity, face.shape)
    return np.clip(face + noise, 0, 255).astype(np.uint8)


def recompressed(face: np.ndarray, severity: float, _: np.random.Generator) -> np.ndarray:
    """JPEG quality 20 .. 3."""
    coded = cv2.imencode(".jpg", face, [cv2.IMWRITE_JPEG_QUALITY, round(20 - 17 * severity)])[1]
    return cv2.imdecode(coded, cv2.IMREAD_COLOR)


def darkened(face: np.ndarray, severity: float, random: np.random.Generator) -> np.ndarray:
    """To 40 .. 8 % of the light, with the noise of a sensor."""
    dark = face * (0.4 - 0.32 * severity) + random.normal(0, 3, face.shape)
    return np.clip(dark, 0, 255).astype(np.uint8)


def occluded(face: np.ndarray, severity: float, random: np.random.Generator) -> np.ndarray:
    """A grey box over 10 .. 40 % of the image."""
    side = round(face.shape[0] * (0.1 + 0.3 * severity) ** 0.5)
    x, y = (int(place) for place in random.integers(0, face.shape[0] - side + 1, 2))
    covered = face.copy()
    covered[y : y + side, x : x + side] = int(random.integers(0, 256))
    return covered


DEGRADATIONS: tuple[_Degrade, ...] = (
    down_sampled,
    blurred,
    motion_blurred,
    noisy,
    recompressed,
    darkened,
    occluded,
)


def degrade(data: bytes, key: str, seed: int) -> bytes:
    """The stored bytes themselves (half of the images) or a degraded image; depends on key and seed only."""
    random = np.random.default_rng([seed, *key.encode()])
    if random.random() < 0.5:
        return data
    face = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    chosen = DEGRADATIONS[int(random.integers(len(DEGRADATIONS)))]
    worse = chosen(face, float(random.random()), random)
    quality = 90 if chosen is not recompressed else 95  # the damage is done; it is stored well
    return bytes(cv2.imencode(".jpg", worse, [cv2.IMWRITE_JPEG_QUALITY, quality])[1])


def mixed_copy(paths: list[Path], output: Path, seed: int) -> list[Path]:
    """Shards of the same names, members and order, with their images degraded or not."""
    output.mkdir(parents=True, exist_ok=True)
    written = []
    for path in paths:
        written.append(output / path.name)
        with tarfile.open(path) as source, tarfile.open(written[-1], "w") as target:
            for member in source:
                stream = source.extractfile(member)
                if stream is None:
                    continue
                data = stream.read()
                if member.name.endswith(".jpg"):
                    data = degrade(data, member.name.removesuffix(".jpg"), seed)
                member.size = len(data)
                target.addfile(member, io.BytesIO(data))
    return written


def main() -> None:
    """Make the copy."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=Path, default=DEFAULT_SHARDS)
    parser.add_argument("--pattern", default="test-*.tar")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    for path in mixed_copy(shards(arguments.shards, arguments.pattern), arguments.output, arguments.seed):
        print(path)


if __name__ == "__main__":
    main()
