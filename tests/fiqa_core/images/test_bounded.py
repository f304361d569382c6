"""Metadata that would take gigabytes or minutes cost next to nothing, and the image is scored or told of."""

import resource
import struct
import time
import zlib
from collections.abc import Callable

import numpy as np
import pytest

from fiqa_core.images.decode import ImageLimits, ImageRejected, decode_rgb
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
    "png, text of a gigabyte": lambda: png_with(png_chunk(b"zTXt", b"C\0\0" + zeros_deflated(1024))),
    "png, 100,000 chunks": lambda: png_with(png_chunk(b"tEXt", b"C\0x") * 100_000),
    "png, 60,000 exif tags of the same bytes": lambda: png_with(png_chunk(b"eXIf", exif_of_equal_tags()[6:])),
    "jpeg, 800 exif blocks": lambda: jpeg_with(*[exif_of_equal_tags()] * 800),
    "gif, a comment of 10 MB": lambda: gif_with(b"!\xfe" + (b"\xff" + b"x" * 255) * 40_000 + b"\0"),
    "gif, 400,000 comments": lambda: gif_with(b"!\xfe\1x\0" * 400_000),
}


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
