"""Damaged images of every format against OpenCV: what is refused, and what the pixels are of what is scored.

Each file is a sound one with one to three random edits (bytes overwritten, inserted, removed or repeated; half of them
among the first 700 bytes). Five outcomes, by comparing with the pixels of the sound file and with OpenCV's:

- untouched: scored with the pixels of the sound file;
- as OpenCV: scored with other pixels, and OpenCV gives the same ones: damage that no decoder can see;
- alone: scored with other pixels, and OpenCV refuses the file;
- differs: scored with other pixels, and OpenCV gives still others;
- lost: refused, though OpenCV gives the pixels of the sound file;
- refused: by a reason code, and OpenCV refuses it or gives other pixels.

    python -m benchmarks.image_fuzz [--rounds 500] [--seed 1] [--only png] [--show]
"""

import argparse
import io
import os
import re
from collections import Counter
from collections.abc import Iterator

import cv2
import numpy as np
from PIL import Image

from fiqa_core.images.decode import ImageLimits, ImageRejected, decode_rgb

_LIMITS = ImageLimits()
_EXIF = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
_MOST_BEHIND = 700


def sources(seed: int = 0) -> dict[str, bytes]:
    """Sound files of every kind, of 64 x 48 pixels, each of a few hundred to some thousand bytes."""
    rng = np.random.default_rng(seed)
    noise = Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8)).resize((64, 48), Image.Resampling.BICUBIC)
    picture = Image.fromarray(
        np.clip(np.asarray(noise, int) + rng.integers(-4, 5, (48, 64, 3)), 0, 255).astype("uint8")
    )
    steps = [rng.integers(1, 60, 64).tolist() for _ in range(2)]

    def stored(name: str, image: Image.Image = picture, **options: object) -> bytes:
        buffer = io.BytesIO()
        image.save(buffer, name, **options)
        return buffer.getvalue()

    return {
        "jpeg": stored("JPEG", quality=90),
        "jpeg grey": stored("JPEG", picture.convert("L")),
        "jpeg optimised": stored("JPEG", optimize=True, quality=93),
        "jpeg own steps": stored("JPEG", qtables=steps),
        "jpeg progressive": stored("JPEG", progressive=True),
        "jpeg restart": stored("JPEG", restart_marker_blocks=2),
        "jpeg exif": stored("JPEG", exif=_EXIF, icc_profile=bytes(500)),
        "png": stored("PNG"),
        "png palette": stored("PNG", picture.quantize(60)),
        "webp": stored("WEBP"),
        "webp lossless": stored("WEBP", lossless=True, exif=_EXIF),
        "gif": stored("GIF"),
        "bmp": stored("BMP"),
        "tiff": stored("TIFF"),
        "tiff lzw": stored("TIFF", compression="tiff_lzw"),
        "tiff deflate": stored("TIFF", compression="tiff_adobe_deflate"),
    }


def mutations(source: bytes, rounds: int, seed: int) -> Iterator[bytes]:
    """`rounds` files of one to three edits each."""
    rng = np.random.default_rng(seed)
    for _ in range(rounds):
        data = bytearray(source)
        for _ in range(rng.integers(1, 4)):
            reach = min(_MOST_BEHIND, len(data)) if rng.random() < 0.5 else len(data)
            at, length = int(rng.integers(2, max(3, reach))), int(rng.integers(1, 9))
            noise = rng.integers(0, 256, length, np.uint8).tobytes()
            kind = rng.integers(5)
            if kind == 0:
                data[at : at + 1] = noise[:1]
            elif kind == 1:
                data[at : at + length] = noise
            elif kind == 2:
                data[at:at] = noise
            elif kind == 3:
                del data[at : at + length]
            else:
                data[at:at] = data[at : at + length]
        yield bytes(data)


def outcome(data: bytes, sound: np.ndarray) -> tuple[str, str]:
    """(one of the six outcomes, the message of a refusal)."""
    try:
        pixels = decode_rgb(data, _LIMITS).pixels
    except ImageRejected as error:
        return ("lost" if _equal(_by_opencv(data), sound) else "refused"), str(error)
    if _equal(pixels, sound):
        return "untouched", ""
    witness = _by_opencv(data)
    if witness is None:
        return "alone", ""
    return ("as OpenCV" if _equal(pixels, witness) else "differs"), ""


def _by_opencv(data: bytes) -> np.ndarray | None:
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error:
        return None


def _equal(left: np.ndarray | None, right: np.ndarray | None) -> bool:
    return left is not None and right is not None and np.array_equal(left, right)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=500, help="damaged files of each kind")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="kinds that begin so")
    parser.add_argument("--show", action="store_true", help="also the reasons of what was lost")
    options = parser.parse_args()
    # The decoders' C code writes thousands of warnings there.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    names = ("untouched", "as OpenCV", "alone", "differs", "lost", "refused")
    print("| kind |", " | ".join(names), "|")
    print("|---" * (1 + len(names)) + "|")
    for kind, data in sources().items():
        if not kind.startswith(options.only):
            continue
        sound = decode_rgb(data, _LIMITS).pixels
        found: Counter[str] = Counter()
        reasons: Counter[str] = Counter()
        for damaged in mutations(data, options.rounds, options.seed):
            name, message = outcome(damaged, sound)
            found[name] += 1
            if name == "lost":
                reasons[re.sub(r"\d+", "N", message)] += 1
        print(f"| {kind} |", " | ".join(str(found[name]) for name in names), "|", flush=True)
        if options.show:
            for reason, count in reasons.most_common(8):
                print(f"    {count} lost: {reason[:150]}")


if __name__ == "__main__":
    main()
