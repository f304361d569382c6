"""A small set with what cleaning has to find: wrong labels, an exact copy, and a file that is no image."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from tests.makers.containers import FaceRecord, write_webdataset
from tests.makers.onnx_models import write_linear

IDENTITIES, EACH, SIDE = 8, 6, 112
WRONG = ("face_003", "face_022")  # planted under the label of another identity
COPY, CORRUPT = "zz_copy", "zz_corrupt"


def planted_faces(folder: Path) -> Path:
    """`faces.tar` with 8 identities of 6 images, 2 wrong labels, a copy of the first image, a corrupt one."""
    rng = np.random.default_rng(3)
    looks = [_look(rng) for _ in range(IDENTITIES)]
    records = []
    for number in range(IDENTITIES * EACH):
        identity = number // EACH
        key = f"face_{number:03d}"
        label = (identity + 3) % IDENTITIES if key in WRONG else identity
        records.append(FaceRecord(key, label, _picture(looks[identity], rng)))
    records.append(FaceRecord(COPY, records[0].label, records[0].data))
    records.append(FaceRecord(CORRUPT, 1, records[1].data[:200]))
    folder.mkdir(parents=True, exist_ok=True)
    (shard,) = write_webdataset(folder / "faces-%06d.tar", records)
    return shard


def recogniser(folder: Path) -> Path:
    """A network that tells these identities apart."""
    return write_linear(folder / "recogniser.onnx", ["n", 3, SIDE, SIDE], 64)


def _look(rng: np.random.Generator) -> np.ndarray:
    small = rng.integers(0, 256, (14, 14, 3), np.uint8)
    return np.asarray(Image.fromarray(small).resize((SIDE, SIDE), Image.Resampling.BICUBIC), np.float32)


def _picture(look: np.ndarray, rng: np.random.Generator) -> bytes:
    pixels = look + rng.normal(0, 40, look.shape)
    stream = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(stream, "JPEG", quality=90)
    return stream.getvalue()
