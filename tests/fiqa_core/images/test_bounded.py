"""Metadata that would take gigabytes or minutes cost next to nothing, and the image is scored or told of."""

import io
import resource
import struct
import time
import zlib
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from PIL import Image

from fiqa_core.images.decode import ImageLimits, ImageRejected, decode_rgb
from schemas.reasons import Status
from tests.makers.hostile import png_chunk
from tests.makers.images import encoded, face_pixels

FACE = face_pixels(0, 40)[:32]
MILLION = bytes(800_000)


def tiff_with(tags: list[tuple[int, int, int, int]], behind: bytes = MILLION) -> bytes:
    """An uncompressed TIFF of FACE; `tags` are (tag, type, count, value or place)."""
    pixels = FACE.tobytes() + behind
    every = [(256, 4, 1, 40), (257, 4, 1, 32), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 2), (273, 4, 1, 8)]
    every += [(277, 3, 1, 3), (278, 4, 1, 32), (279, 4, 1, FACE.nbytes), *tags]
    directory = b"".join(struct.pack("<HHII", *entry) for entry in sorted(every))
    # The next directory is this one again.
    place = struct.pack("<I", 8 + len(pixels))
    return b"".join([b"II*\0", place, pixels, struct.pack("<H", len(every)), directory, place])


def gif_with(extension: bytes) -> bytes:
    gif = encoded(FACE, "GIF")
    start = 13 + 3 * (2 << (gif[10] & 7))
    return gif[:start] + extension + gif[start:]


def png_with(*chunks: bytes) -> bytes:
    png = encoded(FACE, "PNG")
    return png[:33] + b"".join(chunks) + png[33:]


def jpeg_with(*segments: bytes) -> bytes:
    jpeg = encoded(FACE, "JPEG")
    return jpeg[:2] + b"".join(b"\xff\xe1" + struct.pack(">H", len(s) + 2) + s for s in segments) + jpeg[2:]


def zeros_deflated(megabytes: int) -> bytes:
    stream = zlib.compressobj(9)
    block = bytes(1 << 20)
    return b"".join(stream.compress(block) for _ in range(megabytes)) + stream.flush()


def exif_of_equal_tags() -> bytes:
    entries = struct.pack("<HHII", 0x010E, 2, 60_000, 8) * 5000
    return (b"Exif\0\0II*\0" + struct.pack("<IH", 8, 5000) + entries)[:65_000]


BOMBS: dict[str, Callable[[], bytes]] = {
    "tiff, 60,000 tags of the same 800 kB": lambda: tiff_with(
        [(1000 + i % 40_000, 7, 800_000, 8) for i in range(60_000)]
    ),
    "tiff, one tag 60,000 times": lambda: tiff_with([(270, 2, 800_000, 8)] * 60_000),
    "tiff, a palette 60,000 times": lambda: tiff_with([(320, 3, 400_000, 8)] * 60_000),
    "tiff, strips by the million": lambda: tiff_with([(324, 4, 190_000, 8)]),
    "png, text of 256 MB": lambda: png_with(png_chunk(b"zTXt", b"C\0\0" + zeros_deflated(256))),
    "png, 100,000 chunks": lambda: png_with(png_chunk(b"tEXt", b"C\0x") * 100_000),
    "png, 60,000 exif tags of the same bytes": lambda: png_with(png_chunk(b"eXIf", exif_of_equal_tags()[6:])),
    "jpeg, 800 exif blocks": lambda: jpeg_with(*[exif_of_equal_tags()] * 800),
    "gif, a comment of 10 MB": lambda: gif_with(b"!\xfe" + (b"\xff" + b"x" * 255) * 40_000 + b"\0"),
    "gif, 400,000 comments": lambda: gif_with(b"!\xfe\1x\0" * 400_000),
}


def webp_of_frames(count: int) -> bytes:
    flat = np.full_like(FACE, 99)
    frames = [Image.fromarray(flat), Image.fromarray(flat // 2)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    data = buffer.getvalue()
    start = data.index(b"ANMF")
    length = 8 + int.from_bytes(data[start + 4 : start + 8], "little")
    body = b"WEBP" + data[12:start] + data[start : start + length + length % 2] * count
    return b"RIFF" + struct.pack("<I", len(body)) + body


def gif_of_frames(count: int) -> bytes:
    gif = encoded(FACE, "GIF")
    start = 13 + 3 * (2 << (gif[10] & 7))
    return gif[:-1] + gif[start:-1] * count + b";"


def bitmap_of_steps(count: int) -> bytes:
    """A run-length coded bitmap of 40 x 32 pixels with many steps of no pixels."""
    header = struct.pack("<IiiHHIIiiII", 40, 40, 32, 1, 8, 1, 4 * count, 0, 0, 16, 0)
    return b"BM" + struct.pack("<IHHI", 118 + 4 * count, 0, 0, 118) + header + bytes(64) + b"\0\2\0\0" * count + b"\0\1"


def progressive_jpeg_of_scans(count: int) -> bytes:
    """2,500 x 2,500 pixels, and `count` more scans that each bring one bit of one coefficient to all of them."""
    _, made = cv2.imencode(".jpg", np.full((2500, 2500, 3), 90, np.uint8), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])
    data = made.tobytes()
    component = data[data.index(b"\xff\xc2") + 10]
    first = data[: data.index(b"\xff\xc4", data.index(b"\xff\xda"))]
    codes = b"\xff\xc4" + struct.pack(">H", 21) + bytes([0x10, 1, 1] + [0] * 14 + [0xE0, 0])
    # Each code 0 with 14 bits of zeros ends 16,384 blocks; 313 x 313 of them are there.
    bits = ("0" * 15 * 6).ljust(96, "1")
    run = int(bits, 2).to_bytes(12, "big")
    scans = [
        codes + b"\xff\xda\0\x08" + bytes([1, component, 0, at, at, (bit + 1) % 14 << 4 | bit]) + run
        for bit in (13, 12)
        for at in range(1, 64)
    ]
    return b"".join([first, *scans[:count], b"\xff\xd9"])


REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "png, a million chunks": (lambda: png_with(png_chunk(b"tEXt", b"") * 1_100_000), "chunks"),
    "webp, 120,000 frames": (lambda: webp_of_frames(120_000), "chunks"),
    "gif, millions of comments": (lambda: gif_with(b"!\xfe\1x\0" * 1_100_000), "blocks"),
    "bmp, millions of steps": (lambda: bitmap_of_steps(4_100_000), "runs"),
    "jpeg, 120 scans of 6 million pixels": (lambda: progressive_jpeg_of_scans(120), "100 scans"),
    "jpeg, millions of segments": (lambda: jpeg_with(b"Exif\0\0xx", *[b""] * 1_000_000), "segments"),
}
MANY: dict[str, Callable[[], bytes]] = {
    "webp, 90,000 frames": lambda: webp_of_frames(90_000),
    "gif, 5,000 frames": lambda: gif_of_frames(5_000),
    "bmp, 400,000 steps": lambda: bitmap_of_steps(400_000),
    "jpeg, 90 more scans of 6 million pixels": lambda: progressive_jpeg_of_scans(90),
    "jpeg, pictures of an MPO by the million": lambda: jpeg_with(
        *[b"MPF\0II*\0" + struct.pack("<IH", 8, 5000) + bytes(64_000)] * 300
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_more_parts_than_any_picture_has_are_unsupported_at_once(name: str) -> None:
    make, said = REFUSED[name]
    data, started = make(), time.process_time()
    with pytest.raises(ImageRejected, match=said) as caught:
        decode_rgb(data, ImageLimits())
    assert caught.value.status is Status.UNSUPPORTED
    assert time.process_time() - started < 10


@pytest.mark.parametrize("name", MANY)
def test_very_many_parts_are_read_in_seconds(name: str) -> None:
    data, started = MANY[name](), time.process_time()
    assert decode_rgb(data, ImageLimits()).pixels.shape in (FACE.shape, (2500, 2500, 3))
    assert time.process_time() - started < 15


@pytest.mark.parametrize("name", BOMBS)
def test_hostile_metadata_take_no_memory_and_no_time(name: str) -> None:
    data = BOMBS[name]()
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    pixels = decode_rgb(data, ImageLimits()).pixels
    assert time.monotonic() - started < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000 + 5 * len(data) // 1024  # kB
    assert pixels.shape == FACE.shape
    if not name.startswith(("jpeg", "gif")):
        np.testing.assert_array_equal(pixels, FACE)


def test_a_tiff_in_too_many_parts_or_with_too_few_is_told_of() -> None:
    for count, said in ((1_000_000, "1000000 parts"), (0, "take 6 parts")):
        data = tiff_with([(323, 4, 1, 16), (322, 4, 1, 16), (324, 4, count, 8), (325, 4, count, 8)], bytes(5_000_000))
        data = data.replace(struct.pack("<HHII", 273, 4, 1, 8), struct.pack("<HHII", 65_000, 4, 1, 8))
        with pytest.raises(ImageRejected, match=said):
            decode_rgb(data, ImageLimits())
    rows = tiff_with([]).replace(struct.pack("<HHII", 278, 4, 1, 32), struct.pack("<HHII", 278, 4, 1, 8))
    with pytest.raises(ImageRejected, match="take 4 parts"):
        decode_rgb(rows, ImageLimits())


@pytest.mark.parametrize("order", ["<", ">"])
def test_bigtiff_of_both_byte_orders(order: str) -> None:
    pixels = FACE.tobytes()
    tags = [(256, 4, 40), (257, 4, 32), (258, 3, 8), (259, 3, 1), (262, 3, 2), (273, 16, 16), (277, 3, 3)]
    tags += [(278, 4, 32), (279, 16, len(pixels))]
    data = (b"II" if order == "<" else b"MM") + struct.pack(order + "HHHQ", 43, 8, 0, 16 + len(pixels)) + pixels
    data += struct.pack(order + "Q", len(tags))
    for tag, kind, value in tags:
        stored = struct.pack(order + {3: "H", 4: "I", 16: "Q"}[kind], value).ljust(8, b"\0")
        data += struct.pack(order + "HHQ", tag, kind, 1) + stored
    np.testing.assert_array_equal(decode_rgb(data + bytes(8), ImageLimits()).pixels, FACE)
