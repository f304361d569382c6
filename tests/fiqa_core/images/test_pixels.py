"""What each kind of stored image means as 8-bit RGB pixels."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from fiqa_core.images.decode import ImageLimits, ImageRejected, decode_rgb
from fiqa_core.images.resize import to_network_size
from tests.shared import lfw_faces, needs_shared

LIMITS = ImageLimits()
RNG = np.random.default_rng(0)
SMOOTH = cv2.resize(RNG.integers(0, 256, (8, 8, 3), np.uint8), (113, 97), interpolation=cv2.INTER_CUBIC)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pillow(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


@needs_shared
def test_real_faces_decode_to_pillows_pixels():
    for _, _, data in lfw_faces(200):
        np.testing.assert_array_equal(decode_rgb(data, LIMITS).pixels, pillow(data))


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("options", [{"quality": 30}, {"quality": 95, "progressive": True}, {"optimize": True}])
def test_every_subsampling_and_mode_of_jpeg_decodes_to_pillows_pixels(subsampling, options):
    data = encoded(Image.fromarray(SMOOTH), "JPEG", subsampling=subsampling, **options)
    np.testing.assert_array_equal(decode_rgb(data, LIMITS).pixels, pillow(data))


def test_grey_palette_alpha_and_cmyk():
    grey = Image.fromarray(SMOOTH[:, :, 0])
    for kind in ("PNG", "JPEG"):
        data = encoded(grey, kind)
        np.testing.assert_array_equal(decode_rgb(data, LIMITS).pixels, pillow(data))
    transparent = np.dstack([SMOOTH, np.zeros(SMOOTH.shape[:2], np.uint8)])
    np.testing.assert_array_equal(decode_rgb(encoded(Image.fromarray(transparent), "PNG"), LIMITS).pixels, SMOOTH)
    palette = Image.fromarray(SMOOTH).quantize(16)
    np.testing.assert_array_equal(
        decode_rgb(encoded(palette, "PNG"), LIMITS).pixels, np.asarray(palette.convert("RGB"))
    )
    cmyk = encoded(Image.fromarray(SMOOTH).convert("CMYK"), "JPEG")
    np.testing.assert_array_equal(decode_rgb(cmyk, LIMITS).pixels, pillow(cmyk))


def test_sixteen_bits_keep_the_high_byte():
    deep = RNG.integers(0, 1 << 16, (40, 30), np.uint16)
    pixels = decode_rgb(encoded(Image.fromarray(deep), "PNG"), LIMITS).pixels
    np.testing.assert_array_equal(pixels, np.repeat((deep >> 8).astype(np.uint8)[:, :, None], 3, axis=2))


def test_an_exif_orientation_is_applied_and_the_stored_size_reported():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(Image.fromarray(SMOOTH), "JPEG", exif=exif)
    decoded = decode_rgb(data, LIMITS)
    assert (decoded.width, decoded.height) == (113, 97)
    np.testing.assert_array_equal(decoded.pixels, np.rot90(pillow(data), k=-1))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_spoilt_images_are_pixels_or_a_reason_and_never_another_error(kind):
    whole = encoded(Image.fromarray(SMOOTH), kind)
    for seed in range(150):
        rng = np.random.default_rng(seed)
        data = bytearray(whole[: rng.integers(0, len(whole))] if seed % 2 else whole)
        for place in rng.integers(0, max(len(data), 1), 4):
            if data:
                data[place] = int(rng.integers(0, 256))
        try:
            pixels = decode_rgb(bytes(data), LIMITS).pixels
        except ImageRejected as error:
            assert error.message
        else:
            assert pixels.dtype == np.uint8
            assert pixels.ndim == 3


@pytest.mark.parametrize("cut", [0.3, 0.6, 0.95])
def test_a_cut_jpeg_is_truncated_and_never_scored_half_grey(cut):
    data = encoded(Image.fromarray(SMOOTH), "JPEG", quality=95)
    with pytest.raises(ImageRejected) as caught:
        decode_rgb(data[: int(len(data) * cut)], LIMITS)
    assert caught.value.status == "truncated"


def test_resize_equals_opencvs_bilinear_and_leaves_112_alone():
    expected = cv2.resize(SMOOTH, (112, 112), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(to_network_size(SMOOTH), expected)
    np.testing.assert_array_equal(to_network_size(expected), expected)
