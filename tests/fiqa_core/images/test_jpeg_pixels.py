"""The fast JPEG path gives Pillow's pixels, on real faces and on every kind of JPEG there is a maker for."""

import io
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from fiqa_core.images.decode import ImageLimits, decode_rgb
from tests.makers.faces import SHARED, lfw_faces, requires_shared
from tests.makers.images import face_pixels, jpeg_bytes
from tests.makers.rare_jpegs import RARE_JPEGS

LIMITS = ImageLimits(min_side=1)
SIZES = [(1, 1), (7, 8), (16, 16), (17, 31), (97, 113), (112, 112), (250, 250)]
KINDS: dict[str, dict[str, Any]] = {
    "4:4:4": {"subsampling": 0},
    "4:2:2": {"subsampling": 1},
    "4:2:0": {"subsampling": 2},
    "quality 1": {"quality": 1},
    "quality 100": {"quality": 100},
    "progressive": {"progressive": True},
    "progressive 4:4:4": {"progressive": True, "subsampling": 0},
    "optimised": {"optimize": True},
    "restart after 3 blocks": {"restart_marker_blocks": 3},
    "restart after a row": {"restart_marker_rows": 1},
    "stored as RGB": {"keep_rgb": True},
}


def by_pillow(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
        return np.asarray(image.convert("RGB"))


def assert_like_pillow(data: bytes) -> None:
    decoded = decode_rgb(data, LIMITS)
    np.testing.assert_array_equal(decoded.pixels, by_pillow(data))
    assert (decoded.height, decoded.width) == decoded.pixels.shape[:2]
    assert decoded.pixels.flags.c_contiguous


def test_real_aligned_faces() -> None:
    for face in lfw_faces(1500):
        assert_like_pillow(face.data)


@requires_shared
def test_real_photographs() -> None:
    photographs = sorted((SHARED / "data" / "lfw_original").glob("*/*.jpg"))
    assert len(photographs) > 100
    for path in photographs:
        assert_like_pillow(path.read_bytes())


@pytest.mark.parametrize("kind", KINDS)
def test_colour(kind: str) -> None:
    for width, height in SIZES:
        pixels = cv2.resize(face_pixels(1), (width, height))
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", **KINDS[kind])
        assert_like_pillow(buffer.getvalue())


@pytest.mark.parametrize("factors", [0x111111, 0x211111, 0x221111, 0x411111, 0x121111])
def test_opencv_subsamplings(factors: int) -> None:
    for width, height in SIZES:
        pixels = cv2.resize(face_pixels(2), (width, height))
        _, encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factors])
        assert_like_pillow(encoded.tobytes())


@pytest.mark.parametrize("name", RARE_JPEGS)
def test_arithmetic_codes_and_rare_subsamplings(name: str) -> None:
    assert_like_pillow(RARE_JPEGS[name])


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_grey(options: dict[str, Any]) -> None:
    buffer = io.BytesIO()
    Image.fromarray(face_pixels(3)).convert("L").save(buffer, "JPEG", **options)
    data = buffer.getvalue()
    assert_like_pillow(data)
    # Some encoders give a lone component sampling factors of 2 x 2, which mean nothing.
    frame = data.index(b"\xff\xc2" if options else b"\xff\xc0")
    assert_like_pillow(data[: frame + 11] + b"\x22" + data[frame + 12 :])


@pytest.mark.parametrize("transform", [0, 2])
def test_cmyk_and_ycck(transform: int) -> None:
    buffer = io.BytesIO()
    Image.fromarray(face_pixels(4)).convert("CMYK").save(buffer, "JPEG")
    data = bytearray(buffer.getvalue())
    data[data.index(b"Adobe") + 11] = transform
    assert_like_pillow(bytes(data))


def test_mpo_gives_its_first_picture() -> None:
    buffer = io.BytesIO()
    first, second = Image.fromarray(face_pixels(5)), Image.fromarray(face_pixels(6, 64))
    first.save(buffer, "MPO", save_all=True, append_images=[second])
    assert_like_pillow(buffer.getvalue())


@pytest.mark.parametrize("tail", [b"\0", b"\xff", b"\n" * 1000, b"\xff\xd8\xff\xe0", jpeg_bytes(1)])
def test_bytes_after_the_end_marker_are_harmless(tail: bytes) -> None:
    assert_like_pillow(jpeg_bytes(0) + tail)
    assert_like_pillow(jpeg_bytes(0, progressive=True) + tail)


def patched(data: bytes, position: int, value: int) -> bytes:
    return data[:position] + bytes([value]) + data[position + 1 :]


def test_oddities_of_metadata_are_harmless() -> None:
    data = jpeg_bytes(0)
    whole = by_pillow(data)
    body_of_scan = data.index(b"\xff\xda") + 4
    icc = b"\xff\xe2" + (2 + 14).to_bytes(2, "big") + b"ICC_PROFILE\0\x02\x05"  # part 2 of 5
    for odd in (
        patched(data, data.index(b"JFIF\0") + 5, 9),  # JFIF version 9
        patched(data, body_of_scan + 8, 0),  # "spectral selection 0..0" in a baseline scan
        data[:2] + icc + data[2:],
        data[:2] + b"\xff" * 500 + data[2:],  # fill bytes
    ):
        assert odd != data
        np.testing.assert_array_equal(decode_rgb(odd, LIMITS).pixels, whole)
