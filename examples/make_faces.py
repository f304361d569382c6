"""Faces to try the pipelines on, from photographs that the scikit-image package ships: nothing is downloaded.

python -m examples.make_faces --output demo/faces.tar

writes a WebDataset shard of aligned 112x112 faces: the astronaut Eileen Collins (NASA, public domain) and a few crops
of LFW (25x25 grey pixels in the package, so poor from the start), each as it is and degraded in several ways at rising
severity. A key such as `astronaut-blur-3` names the face, the kind and the step; `.json` beside it has the severity.
"""

import argparse
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from fiqa_core.extras import install_extra
from fiqa_core.images.degradations import DEGRADATIONS
from fiqa_core.wording import counted

SIDE = 112
# Where recognition networks expect the eyes, the nose and the corners of the mouth (ArcFace's template), x and y.
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
# The same points in the astronaut's photograph, as OpenCV's YuNet detector finds them.
ASTRONAUT = np.array([[203.4, 103.6], [247.5, 104.4], [224.1, 127.7], [204.0, 143.1], [242.9, 143.7]])
# The LFW crops are alike: their eyes are about 9.5 pixels apart, in the row 8.5.
CROP_EYES = np.array([[7.6, 8.6], [16.9, 8.6]])
KINDS = ("blur", "low_resolution", "noise", "jpeg", "occlusion", "rotation", "darkness")
STEPS = 5


class Face(NamedTuple):
    """A face of the shard: `pixels` uint8 (112, 112, 3) RGB; kind `none` and severity 0 where it is as it was."""

    key: str
    identity: str
    kind: str
    severity: float
    pixels: np.ndarray


def aligned(image: np.ndarray, points: np.ndarray, template: np.ndarray) -> np.ndarray:
    """The 112x112 face whose points (N, 2) lie nearest the template's: turned, scaled and moved, by least squares."""
    (x, y), ones, zeros = points.T, np.ones(len(points)), np.zeros(len(points))
    equations = np.concatenate([np.stack([x, -y, ones, zeros], 1), np.stack([y, x, zeros, ones], 1)])
    a, b, dx, dy = np.linalg.lstsq(equations, template.T.reshape(-1), rcond=None)[0]
    matrix = np.array([[a, -b, dx], [b, a, dy]])
    size = (SIDE, SIDE)
    return np.asarray(cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))


def faces(crops: int) -> dict[str, np.ndarray]:
    """Aligned faces by name; SystemExit where scikit-image is not installed."""
    try:
        from skimage import data
    except ImportError as error:
        raise SystemExit(f"the photographs come with scikit-image ({error}): {install_extra('examples')}") from error
    found = {"astronaut": aligned(data.astronaut(), ASTRONAUT, TEMPLATE)}
    for number, crop in enumerate(data.lfw_subset()[:crops]):  # the first 100 are faces, the others are not
        grey = np.clip(np.rint(crop * 255), 0, 255).astype(np.uint8)
        found[f"lfw{number:02d}"] = aligned(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), CROP_EYES, TEMPLATE[:2])
    return found


def ladder(name: str, face: np.ndarray) -> Iterator[Face]:
    """A face as it is, then every kind of degradation at STEPS rising severities; what is random about a kind is the
    same at each step (the side that is covered, the direction of a turn)."""
    yield Face(f"{name}-none-0", name, "none", 0.0, face)
    for kind in KINDS:
        for step in range(1, STEPS + 1):
            severity, random = step / STEPS, np.random.default_rng(list(f"{name}{kind}".encode()))
            yield Face(f"{name}-{kind}-{step}", name, kind, severity, DEGRADATIONS[kind](face, severity, random))


def write(path: Path, shown: dict[str, np.ndarray]) -> int:
    """Write the shard, the same bytes every time; the number of images."""
    path.parent.mkdir(parents=True, exist_ok=True)
    count = 0
    with tarfile.open(path, "w") as shard:
        for name, face in shown.items():
            for made in ladder(name, face):
                pixels = cv2.cvtColor(made.pixels, cv2.COLOR_RGB2BGR)
                described = {"identity": made.identity, "kind": made.kind, "severity": made.severity}
                for suffix, data in (
                    ("cls", made.identity.encode()),
                    ("json", json.dumps(described).encode()),
                    ("png", cv2.imencode(".png", pixels)[1].tobytes()),
                ):
                    member = tarfile.TarInfo(f"{made.key}.{suffix}")
                    member.size = len(data)
                    shard.addfile(member, io.BytesIO(data))
                count += 1
    return count


def main() -> None:
    """Write the shard."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, metavar="TAR")
    parser.add_argument("--crops", type=int, default=8, help="LFW crops beside the astronaut, at most 100 (default 8)")
    arguments = parser.parse_args()
    count = write(arguments.output, faces(min(max(arguments.crops, 0), 100)))
    print(f"{arguments.output}: {counted(count, 'image')}")


if __name__ == "__main__":
    main()
