"""AVIF and HEIC: the pixels that Pillow and pillow-heif give, upright, within the limits; else a reason by name."""

import builtins
import io
import struct
import tracemalloc

import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageOps

from fiqa_core.images.decode import ImageLimits, ImageRejected, decode_rgb
from fiqa_core.shards.output_names import image_suffix
from schemas.reasons import Status
from tests.makers.images import encoded, face_pixels, heic_bytes

FACE = face_pixels(3, 96)[:, :64]  # taller than wide
EXIF = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"


def boxed(brand: bytes, *others: bytes) -> bytes:
    body = brand + bytes(4) + b"".join(others)
    return struct.pack(">I", len(body) + 8) + b"ftyp" + body + bytes(100)


def rejected(data: bytes, limits: ImageLimits | None = None) -> ImageRejected:
    with pytest.raises(ImageRejected) as caught:
        decode_rgb(data, limits or ImageLimits())
    return caught.value


def avif(pixels: np.ndarray, **options: object) -> bytes:
    return encoded(pixels, "AVIF", quality=95, **options)


@pytest.mark.parametrize("kind", ["RGB", "RGBA", "L"])
def test_avif_has_the_pixels_that_pillow_gives(kind):
    pixels = np.asarray(Image.fromarray(FACE).convert(kind))
    data = avif(pixels)
    found = decode_rgb(data, ImageLimits())
    np.testing.assert_array_equal(found.pixels, np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))
    assert (found.width, found.height, found.pixels.flags.c_contiguous) == (64, 96, True)
    assert image_suffix(data, "face") == "avif"


@pytest.mark.parametrize("kind", ["RGB", "RGBA", "L"])
def test_heic_has_the_pixels_that_pillow_heif_gives(kind):
    pixels = np.asarray(Image.fromarray(FACE).convert(kind))
    data = heic_bytes(pixels, quality=95)
    found = decode_rgb(data, ImageLimits())
    expected = pillow_heif.read_heif(io.BytesIO(data)).to_pillow().convert("RGB")
    np.testing.assert_array_equal(found.pixels, np.asarray(expected))
    assert np.abs(found.pixels.astype(int) - np.asarray(Image.fromarray(pixels).convert("RGB"))).mean() < 4
    assert image_suffix(data, "face") == "heic"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_avif_is_turned_upright_by_its_boxes(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = avif(FACE, exif=exif)  # Pillow writes the boxes from it
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    np.testing.assert_array_equal(decode_rgb(data, ImageLimits()).pixels, np.asarray(expected.convert("RGB")))


def test_heic_is_turned_upright_once_and_exif_does_not_turn_it_again():
    turned = heic_bytes(FACE, quality=95, exif=EXIF)  # pillow-heif writes the boxes from it
    found = decode_rgb(turned, ImageLimits()).pixels
    assert found.shape == (64, 96, 3)
    expected = np.asarray(pillow_heif.read_heif(io.BytesIO(turned)).to_pillow())
    np.testing.assert_array_equal(found, expected)


def test_damaged_exif_changes_nothing():
    for make in (avif, heic_bytes):
        exif = Image.Exif()
        exif[0x0110] = "a camera"
        whole = make(FACE, exif=exif.tobytes())
        at = whole.index(b"a camera")
        data = whole[: at - 18] + b"\xff" * 26 + whole[at + 8 :]  # the directory and its value
        assert data != whole
        assert decode_rgb(data, ImageLimits()).pixels.shape == (96, 64, 3)


@pytest.mark.parametrize("make", [avif, heic_bytes])
def test_limits_are_checked_before_a_picture_is_decoded(make):
    large = make(np.zeros((3000, 2000, 3), np.uint8))
    tracemalloc.start()
    error = rejected(large, ImageLimits(max_pixels=1_000_000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (error.status, error.width, error.height) == (Status.TOO_LARGE, 2000, 3000)
    assert peak < 3 << 20
    assert rejected(make(FACE), ImageLimits(min_side=65)).status is Status.TOO_SMALL


@pytest.mark.parametrize("make", [avif, heic_bytes])
@pytest.mark.parametrize("kept", [0.02, 0.3, 0.8, 0.99])
def test_a_file_that_ends_early_is_refused(make, kept):
    data = make(FACE)
    assert rejected(data[: int(len(data) * kept)]).status in (Status.TRUNCATED, Status.CORRUPT)


@pytest.mark.parametrize(
    "data", [boxed(b"avif", b"mif1"), boxed(b"mif1", b"miaf", b"avif"), boxed(b"heic", b"mif1"), boxed(b"mif1")]
)
def test_what_only_begins_like_one_is_damaged_and_never_no_image(data):
    assert rejected(data).status in (Status.CORRUPT, Status.TRUNCATED, Status.UNSUPPORTED)


@pytest.mark.parametrize(("make", "package", "words"), [
    (avif, "PIL._avif", "build of Pillow"), (heic_bytes, "pillow_heif", r".[images]"),
])  # fmt: skip
def test_without_the_decoder_it_is_unsupported_with_the_remedy(make, package, words, monkeypatch):
    data, real = make(FACE), builtins.__import__

    def without(name, globals=None, locals=None, fromlist=(), level=0):
        if name == package or (name == "PIL" and "_avif" in (fromlist or ()) and package.startswith("PIL")):
            raise ImportError(name)
        return real(name, globals, locals, fromlist, level)

    monkeypatch.setattr(builtins, "__import__", without)
    error = rejected(data)
    assert error.status is Status.UNSUPPORTED
    assert words in error.message


@pytest.mark.parametrize("make", [avif, heic_bytes])
def test_the_same_file_gives_the_same_pixels(make):
    data = make(FACE)
    first = decode_rgb(data, ImageLimits()).pixels
    for _ in range(3):
        np.testing.assert_array_equal(decode_rgb(data, ImageLimits()).pixels, first)
