"""Whatever the bytes, `decode_rgb` returns an image or raises ImageRejected."""

import time
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest

from fiqa_core.images.decode import ImageLimits, ImageRejected, decode_rgb
from fiqa_core.images.headers import ImageFormat
from schemas.reasons import Status
from tests.makers.hostile import png_chunk
from tests.makers.images import encoded, face_pixels, heic_bytes, jpeg_bytes, png_bytes, webp_bytes
from tests.makers.rare_jpegs import RARE_JPEGS

# Pillow warns of what it finds in damaged metadata; that is not an exception.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")

FACE = face_pixels(0, 48)
SOURCES: dict[str, list[bytes]] = {
    "jpeg": [jpeg_bytes(0, 48), jpeg_bytes(1, 48, progressive=True), jpeg_bytes(2, 48, restart_marker_blocks=2)],
    "rare jpeg": list(RARE_JPEGS.values()),
    "jpeg with exif": [encoded(FACE, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0")],
    "png": [png_bytes(0, 48)],
    "webp": [webp_bytes(0, 48), encoded(FACE, "WEBP", lossless=True)],
    "gif": [encoded(FACE, "GIF")],
    "bmp": [encoded(FACE, "BMP")],
    "avif": [encoded(FACE, "AVIF", quality=80)],
    "heic": [heic_bytes(FACE)],
    "tiff": [encoded(FACE, "TIFF"), encoded(FACE, "TIFF", compression="tiff_lzw")],
}
ROUNDS = 400


def mutations(sources: list[bytes], seed: int) -> Iterator[bytes]:
    """Cut, flip, overwrite, insert, remove and repeat; half of it in the first 64 bytes, where headers are."""
    rng = np.random.default_rng(seed)
    for _ in range(ROUNDS):
        data = bytearray(sources[rng.integers(len(sources))])
        for _ in range(rng.integers(1, 5)):
            reach = min(64, len(data)) if rng.random() < 0.5 else len(data)
            at = int(rng.integers(max(1, reach)))
            length = int(rng.integers(1, 9))
            kind = rng.integers(6)
            if kind == 0:
                del data[at:]
            elif kind == 1:
                data[at : at + 1] = bytes([int(rng.integers(256))])
            elif kind == 2:
                data[at : at + length] = rng.integers(0, 256, length, np.uint8).tobytes()
            elif kind == 3:
                data[at:at] = rng.integers(0, 256, length, np.uint8).tobytes()
            elif kind == 4:
                del data[at : at + length]
            else:
                data[at:at] = data[at : at + length]
        yield bytes(data)


@pytest.mark.parametrize("name", SOURCES)
def test_mutated_files(name: str) -> None:
    outcomes: Counter[str] = Counter()
    started = time.monotonic()
    for data in mutations(SOURCES[name], seed=7):
        try:
            decoded = decode_rgb(data, ImageLimits())
        except ImageRejected as error:
            outcomes[error.status] += 1
        else:
            outcomes[Status.SCORED] += 1
            assert decoded.pixels.dtype == np.uint8
            assert decoded.pixels.shape[2] == 3
            assert sorted(decoded.pixels.shape[:2]) == sorted((decoded.width, decoded.height))
    assert sum(outcomes.values()) == ROUNDS
    assert len(outcomes) >= 3, outcomes
    assert time.monotonic() - started < 30


@pytest.mark.parametrize(
    "beginning",
    [b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM" + bytes(12) + b"\x28\0\0\0", b"II*\0", b"MM\0+"],
)
def test_noise_behind_a_signature(beginning: bytes) -> None:
    rng = np.random.default_rng(0)
    for length in [*range(40), *range(40, 2000, 40)]:
        noise = rng.integers(0, 256, length, np.uint8).tobytes()
        with pytest.raises(ImageRejected):
            decode_rgb(beginning + noise, ImageLimits())


def test_png_with_sound_checksums_around_nonsense() -> None:
    """The checksums must not be all that stands between a hostile PNG and the decoder."""
    rng = np.random.default_rng(1)
    for _ in range(300):
        header = b"\0\0\0\x20\0\0\0\x20" + bytes(rng.integers(0, 17, 5, np.uint8).tolist())
        kinds = (b"IDAT", b"PLTE", b"tRNS", b"iCCP", b"zTXt", b"iTXt", b"eXIf", b"acTL", b"fcTL", b"fdAT", b"gAMA")
        chunks = [
            png_chunk(kinds[rng.integers(len(kinds))], rng.integers(0, 256, rng.integers(40), np.uint8).tobytes())
            for _ in range(rng.integers(1, 5))
        ]
        data = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + b"".join(chunks) + png_chunk(b"IEND", b"")
        with pytest.raises(ImageRejected):
            decode_rgb(data, ImageLimits())


def test_every_format_is_fuzzed() -> None:
    assert {member.value.lower() for member in ImageFormat} <= set(SOURCES)
