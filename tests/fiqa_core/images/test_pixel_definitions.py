"""What pixels mean, kind by kind; OpenCV's IMREAD_COLOR (which the original reads with) is the second witness."""

import io
import zlib
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from fiqa_core.images.decode import DecodedImage, ImageLimits, ImageRejected, decode_rgb
from fiqa_core.images.orientation import exif_orientation
from schemas.reasons import Status
from tests.makers.hostile import PNG_MAGIC, png_chunk
from tests.makers.images import face_pixels

FACE = face_pixels(0, 40)[:32]  # 40 wide, 32 high
ALPHA = np.random.default_rng(0).integers(0, 256, (32, 40, 1), np.uint8)
SIXTEEN = np.random.default_rng(1).integers(0, 65536, (32, 40, 3), np.uint16)
GREY = FACE[:, :, 1]


LOSSLESS: dict[str, dict[str, Any]] = {"WEBP": {"lossless": True}}


def decode(data: bytes) -> DecodedImage:
    return decode_rgb(data, ImageLimits())


def saved(image: Image.Image, image_format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def by_opencv(data: bytes) -> np.ndarray:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert pixels is not None
    return np.asarray(pixels)


def grey_as_rgb(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[:, :, np.newaxis], 3, axis=2)


@pytest.mark.parametrize("image_format", ["PNG", "BMP", "TIFF", "WEBP"])
def test_colour_is_itself(image_format: str) -> None:
    data = saved(Image.fromarray(FACE), image_format, **LOSSLESS.get(image_format, {}))
    decoded = decode(data)
    np.testing.assert_array_equal(decoded.pixels, FACE)
    np.testing.assert_array_equal(by_opencv(data), FACE)
    assert (decoded.width, decoded.height) == (40, 32)
    assert decoded.pixels.dtype == np.uint8
    assert decoded.pixels.flags.c_contiguous


@pytest.mark.parametrize("quality", [10, 80, 100])
def test_lossy_webp_as_opencv_reads_it(quality: int) -> None:
    data = saved(Image.fromarray(FACE), "WEBP", quality=quality)
    np.testing.assert_array_equal(decode(data).pixels, by_opencv(data))


@pytest.mark.parametrize("image_format", ["PNG", "BMP", "TIFF", "GIF"])
def test_grey_is_replicated(image_format: str) -> None:
    data = saved(Image.fromarray(GREY), image_format)
    np.testing.assert_array_equal(decode(data).pixels, grey_as_rgb(GREY))


@pytest.mark.parametrize("image_format", ["PNG", "BMP", "TIFF"])
def test_one_bit_is_black_and_white(image_format: str) -> None:
    data = saved(Image.fromarray(GREY > 100), image_format)
    expected = grey_as_rgb(np.where(GREY > 100, 255, 0).astype(np.uint8))
    np.testing.assert_array_equal(decode(data).pixels, expected)


@pytest.mark.parametrize("image_format", ["PNG", "BMP", "TIFF", "GIF"])
def test_a_palette_gives_its_colours(image_format: str) -> None:
    image = Image.fromarray(FACE).quantize(16)
    data = saved(image, image_format)
    np.testing.assert_array_equal(decode(data).pixels, np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("image_format", ["PNG", "GIF"])
def test_a_transparent_palette_colour_keeps_its_colour(image_format: str) -> None:
    image = Image.fromarray(FACE).quantize(16)
    data = saved(image, image_format, transparency=3)
    np.testing.assert_array_equal(decode(data).pixels, np.asarray(image.convert("RGB")))


def test_png_transparency_of_every_kind_is_dropped() -> None:
    palette = Image.fromarray(FACE).quantize(16)
    colour = tuple(int(value) for value in FACE[0, 0])
    for image, transparency in (
        (palette, bytes(range(16))),
        (Image.fromarray(FACE), colour),
        (Image.fromarray(GREY), int(GREY[0, 0])),
    ):
        data = saved(image, "PNG", transparency=transparency)
        np.testing.assert_array_equal(decode(data).pixels, np.asarray(image.convert("RGB")))
        np.testing.assert_array_equal(by_opencv(data), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize(
    ("image_format", "options"),
    [("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True, "exact": True})],
)
def test_alpha_is_dropped_and_colours_stay_as_stored(image_format: str, options: dict[str, Any]) -> None:
    image = Image.fromarray(np.concatenate([FACE, ALPHA], axis=2))
    np.testing.assert_array_equal(decode(saved(image, image_format, **options)).pixels, FACE)


def test_grey_with_alpha() -> None:
    image = Image.fromarray(np.dstack([GREY, ALPHA]))
    assert image.mode == "LA"
    np.testing.assert_array_equal(decode(saved(image, "PNG")).pixels, grey_as_rgb(GREY))


@pytest.mark.parametrize("extension", [".png", ".tiff"])
@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bits_give_the_high_byte(extension: str, channels: int) -> None:
    stored = SIXTEEN[:, :, :channels]
    _, encoded = cv2.imencode(extension, stored[:, :, ::-1])
    np.testing.assert_array_equal(
        decode(encoded.tobytes()).pixels, np.broadcast_to((stored >> 8).astype(np.uint8), (32, 40, 3))
    )
    if extension == ".png":
        np.testing.assert_array_equal(decode(encoded.tobytes()).pixels, by_opencv(encoded.tobytes()))


def test_sixteen_bit_png_with_alpha() -> None:
    stored = np.dstack([SIXTEEN, SIXTEEN[:, :, 0]])
    _, encoded = cv2.imencode(".png", stored)
    np.testing.assert_array_equal(decode(encoded.tobytes()).pixels, (SIXTEEN[:, :, ::-1] >> 8).astype(np.uint8))


def test_colour_profile_and_gamma_change_nothing() -> None:
    data = saved(
        Image.fromarray(FACE), "PNG", icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
    )
    gamma = png_chunk(b"gAMA", (100_000).to_bytes(4, "big"))
    np.testing.assert_array_equal(decode(data[:33] + gamma + data[33:]).pixels, FACE)


def test_interlaced_png() -> None:
    """Pillow writes none, so the seven passes of Adam7 are made by hand."""
    rows = b""
    for x, y, dx, dy in (
        (0, 0, 8, 8),
        (4, 0, 8, 8),
        (0, 4, 4, 8),
        (2, 0, 4, 4),
        (0, 2, 2, 4),
        (1, 0, 2, 2),
        (0, 1, 1, 2),
    ):
        rows += b"".join(b"\0" + row.tobytes() for row in FACE[y::dy, x::dx])
    header = (40).to_bytes(4, "big") + (32).to_bytes(4, "big") + bytes([8, 2, 0, 0, 1])
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    data = PNG_MAGIC + b"".join(png_chunk(kind, body) for kind, body in chunks)
    np.testing.assert_array_equal(decode(data).pixels, FACE)


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_wide_samples_are_unsupported(dtype: Any) -> None:
    data = saved(Image.fromarray(GREY.astype(dtype)), "TIFF")
    with pytest.raises(ImageRejected) as caught:
        decode(data)
    assert caught.value.status is Status.UNSUPPORTED
    assert (caught.value.width, caught.value.height) == (40, 32)


def test_lab_is_unsupported() -> None:
    with pytest.raises(ImageRejected) as caught:
        decode(saved(Image.merge("LAB", Image.fromarray(FACE).split()), "TIFF"))
    assert caught.value.status is Status.UNSUPPORTED


@pytest.mark.parametrize("image_format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_several_frames_the_first(image_format: str) -> None:
    frames = [Image.fromarray(FACE).quantize(32), Image.fromarray(255 - FACE).quantize(32)]
    if image_format != "GIF":
        frames = [frame.convert("RGB") for frame in frames]
    data = saved(frames[0], image_format, save_all=True, append_images=frames[1:], **LOSSLESS.get(image_format, {}))
    np.testing.assert_array_equal(decode(data).pixels, np.asarray(frames[0].convert("RGB")))


def test_tiff_compressions() -> None:
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "raw"):
        data = saved(Image.fromarray(FACE), "TIFF", compression=compression)
        np.testing.assert_array_equal(decode(data).pixels, FACE)


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_and_the_stored_size_kept(image_format: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(Image.fromarray(FACE), image_format, exif=exif, **LOSSLESS.get(image_format, {}))
    decoded = decode(data)
    np.testing.assert_array_equal(decoded.pixels, by_opencv(data))
    assert decoded.pixels.shape == ((40, 32, 3) if orientation >= 5 else (32, 40, 3))
    assert (decoded.width, decoded.height) == (40, 32)
    assert decoded.pixels.flags.c_contiguous


@pytest.mark.parametrize("order", ["<", ">"])
def test_orientation_is_read_in_both_byte_orders(order: str) -> None:
    exif = Image.Exif()
    exif.endian = order
    exif[0x010F] = "Maker"
    exif[0x0112] = 8
    assert exif_orientation(exif.tobytes()) == 8
    assert exif_orientation(exif.tobytes().removeprefix(b"Exif\0\0")) == 8


def test_damaged_exif_means_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    whole = exif.tobytes()
    assert exif_orientation(whole) == 6
    for end in range(len(whole) - 8):
        assert exif_orientation(whole[:end]) == 1
    exif[0x0112] = 99
    assert exif_orientation(exif.tobytes()) == 1
    assert exif_orientation(b"Exif\0\0II*\0\xff\xff\xff\xff") == 1
    data = saved(Image.fromarray(FACE), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0")
    assert decode(data).pixels.shape == FACE.shape


def test_content_decides_and_any_buffer_will_do() -> None:
    data = saved(Image.fromarray(FACE), "PNG")
    np.testing.assert_array_equal(decode_rgb(memoryview(data), ImageLimits()).pixels, FACE)
