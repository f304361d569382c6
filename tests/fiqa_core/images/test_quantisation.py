"""The quantisation step of stored images against Pillow's reading of their tables."""

import io

import numpy as np
import pytest
from PIL import Image

from fiqa_core.images.quantisation import quantisation_step
from tests.makers.images import encoded, face_pixels
from tests.makers.rare_jpegs import RARE_JPEGS
from tests.shared import SHARED, lfw_faces, needs_shared


def pillows(data: bytes) -> float:
    with Image.open(io.BytesIO(data)) as image:
        return sum(image.quantization[0]) / 64


def stored(image_format: str, **options) -> bytes:
    out = io.BytesIO()
    Image.fromarray(face_pixels(3)).save(out, image_format, **options)
    return out.getvalue()


@pytest.mark.parametrize(
    "options",
    [
        *({"quality": quality} for quality in (1, 40, 60, 85, 90, 100)),
        *({"progressive": True}, {"optimize": True}, {"exif": b"Exif\0\0\xff\xdb\0\x43\0" + b"\1" * 64}),
        *({"comment": b"\xff\xdb\0\x43\0" * 9}, {"qtables": [[9] * 64, [200] * 64]}, {"qtables": [[7] * 64]}),
        {"icc_profile": bytes(70_000)},
    ],
)
@pytest.mark.parametrize("grey", [False, True])
def test_it_is_the_mean_of_the_luminance_table_wherever_it_lies(options, grey):
    out = io.BytesIO()
    Image.fromarray(face_pixels(3)).convert("L" if grey else "RGB").save(out, "JPEG", **options)
    assert quantisation_step(out.getvalue()) == pillows(out.getvalue())


@pytest.mark.parametrize("name", list(RARE_JPEGS))
def test_rare_codings_say_it_too(name):
    assert quantisation_step(RARE_JPEGS[name]) == pillows(RARE_JPEGS[name])


def test_tables_of_16_bits_and_with_other_numbers_are_those_of_the_first_component():
    body = bytes([0x12]) + b"".join(step.to_bytes(2, "big") for step in range(300, 364))
    other = bytes([0]) + bytes([50]) * 64
    tables = b"\xff\xdb" + (2 + len(body) + len(other)).to_bytes(2, "big") + other + body
    frame = b"\xff\xc1\0\x0b\x08\0\x10\0\x10\x01\x01\x11\x02"
    for header in (tables + frame, frame + tables, b"junk" + tables + b"\xff\xff" + frame):
        assert quantisation_step(b"\xff\xd8\xff\xfe\0\x04ab" + header) == np.mean(range(300, 364))


@pytest.mark.parametrize(
    ("image_format", "options", "expected"),
    [
        *(("PNG", {}, 0.0), ("BMP", {}, 0.0), ("TIFF", {}, 0.0), ("TIFF", {"compression": "tiff_lzw"}, 0.0)),
        *(("TIFF", {"compression": "jpeg"}, None), ("WEBP", {}, None), ("WEBP", {"lossless": True}, 0.0)),
        ("GIF", {}, None),
    ],
)
def test_formats_without_loss_have_step_0_and_others_none(image_format, options, expected):
    assert quantisation_step(stored(image_format, **options)) == expected


def test_no_bytes_raise_an_error_or_take_long():
    random = np.random.default_rng(0)
    for data in [encoded(face_pixels(1), "JPEG"), stored("TIFF"), stored("WEBP"), stored("PNG")]:
        for _ in range(200):
            broken = bytearray(data[: int(random.integers(2, 400))])
            for place in random.integers(2, len(broken) + 1, 10).tolist():
                broken[place - 1] = int(random.integers(256))
            quantisation_step(bytes(broken))
    assert quantisation_step(b"\xff\xd8" + b"\xff" * (1 << 20)) is None
    assert quantisation_step(b"\xff\xd8\xff\xdb\xff\xff" + bytes(1 << 20)) is None
    assert quantisation_step(b"") is None


@needs_shared
def test_real_faces_and_camera_files_say_it():
    files = sorted((SHARED / "data" / "lfw_original").glob("*/*.jpg"))[:20]
    for data in [*(face[2] for face in lfw_faces(20)), *(path.read_bytes() for path in files)]:
        assert quantisation_step(data) == pillows(data)
