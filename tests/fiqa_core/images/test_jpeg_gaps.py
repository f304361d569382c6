"""Bytes between the segments of a JPEG: harmless, unless they show that a table, a scan or a marker was damaged."""

import io
import re
import struct
import time

import cv2
import numpy as np
import pytest
from PIL import Image

from fiqa_core.images.decode import ImageLimits, ImageRejected, decode_rgb
from schemas.reasons import Status
from tests.makers.images import encoded, face_pixels

FACE = face_pixels(3, 64)[:48]
# Steps as cameras and image editors have them: far from libjpeg's, and with the largest value.
STEPS = [np.random.default_rng(3).integers(1, 60, 64).tolist(), [7, 7, 13, 24, 26, 31] + [31] * 50 + [255] * 8]


def cmyk() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(FACE).convert("CMYK").save(buffer, "JPEG")
    return buffer.getvalue()


def jpeg(**options: object) -> bytes:
    return encoded(FACE, "JPEG", **options)


KINDS = {
    "baseline": jpeg(quality=90),
    "worst quality": jpeg(quality=1),
    "optimised": jpeg(optimize=True),
    "own steps": jpeg(qtables=STEPS),
    "own steps, optimised": jpeg(qtables=STEPS, optimize=True, subsampling=0),
    "progressive": jpeg(progressive=True),
    "progressive, own steps": jpeg(progressive=True, qtables=STEPS),
    "restart": jpeg(restart_marker_blocks=2),
    "grey": encoded(FACE[:, :, 1], "JPEG"),
    "grey, progressive": encoded(FACE[:, :, 1], "JPEG", progressive=True),
    "exif and profile": jpeg(exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0", icc_profile=bytes(300)),
    "cmyk": cmyk(),
}
JUNK = [b"\0", b"\x01", b"\x10", b"\x63", b"\xff\0", b"\xda", b"\xc4\0", b"\xdb\0\x43\0", bytes(7), b"\x1f" * 70]
JUNK += [np.random.default_rng(seed).integers(0, 255, 1 + seed % 9, np.uint8).tobytes() for seed in range(20)]


def pixels_of(data: bytes) -> np.ndarray:
    return decode_rgb(data, ImageLimits()).pixels


def header_segments(data: bytes) -> list[int]:
    """Where the segments begin that lead to the first scan, without the first one."""
    places, position = [], 2
    while data[position + 1] != 0xDA:
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        places.append(position)
    return places


def corrupt(data: bytes) -> str:
    with pytest.raises(ImageRejected) as caught:
        pixels_of(data)
    assert caught.value.status is Status.CORRUPT
    return caught.value.message


@pytest.mark.parametrize("kind", KINDS)
def test_junk_before_any_segment_of_the_header_is_harmless_in_every_kind_of_jpeg(kind: str) -> None:
    data = KINDS[kind]
    whole = pixels_of(data)
    for place in header_segments(data):
        for junk in JUNK:
            np.testing.assert_array_equal(pixels_of(data[:place] + junk + data[place:]), whole)


def test_bytes_behind_a_table_that_was_shifted_are_not_harmless() -> None:
    """A byte more in a table pushes its last one out; the pixels change, and OpenCV is silent."""
    for kind in ("baseline", "optimised", "progressive", "grey"):
        data = KINDS[kind]
        steps, codes = data.index(b"\xff\xdb"), data.index(b"\xff\xc4")
        for place in (steps + 9, steps + 40, codes + 25):
            inserted = data[:place] + b"\x01" + data[place:]
            if place < codes or kind == "baseline":
                assert cv2.imdecode(np.frombuffer(inserted, np.uint8), cv2.IMREAD_COLOR) is not None
            assert "inserted byte" in corrupt(inserted)


def test_a_table_that_is_unusual_but_not_shifted_is_sound_with_junk_behind_it() -> None:
    data = KINDS["baseline"]
    steps = data.index(b"\xff\xdb")
    unusual = data[: steps + 10] + b"\x63" + data[steps + 11 :]
    behind = unusual.index(b"\xff\xdb", steps + 2)
    for junk in (b"\0", b"\x63", bytes(300)):
        with_junk = unusual[:behind] + junk + unusual[behind:]
        np.testing.assert_array_equal(pixels_of(with_junk), pixels_of(unusual))


def test_a_segment_that_took_the_next_marker_for_its_own_is_damage() -> None:
    data = KINDS["progressive"]
    last_codes = data.rindex(b"\xff\xc4")
    assert "lacks bytes" in corrupt(data[: last_codes + 25] + data[last_codes + 26 :])


def test_a_table_whose_marker_is_damaged_is_not_junk() -> None:
    data = KINDS["baseline"]
    last_codes = data.rindex(b"\xff\xc4")
    for marker in (b"\x00\xc4", b"\xff\xd5"):
        assert "marker is damaged" in corrupt(data[:last_codes] + marker + data[last_codes + 2 :])


@pytest.mark.parametrize("kind", ["progressive", "grey, progressive"])
def test_a_progressive_jpeg_without_one_of_its_scans_is_damage_where_its_bytes_are_still_there(kind: str) -> None:
    data, position = KINDS[kind], 0
    scans = []
    while (position := data.find(b"\xff\xda", position + 1)) > 0:
        scans.append(position)
    assert len(scans) > 4
    for scan in scans:
        for marker in (b"\x01\xda", b"\xff\xd1", b"\xff\xfe"):
            with pytest.raises(ImageRejected):
                pixels_of(data[:scan] + marker + data[scan + 2 :])


def test_a_byte_inserted_into_the_header_of_a_scan_is_damage() -> None:
    data = KINDS["baseline"]
    end = data.index(b"\xff\xda") + 14
    corrupt(data[: end - 3] + b"\x07" + data[end - 3 :])


@pytest.mark.parametrize("body", [b"", b"\x08", b"\x08\0\x30\0\x40"])
def test_a_frame_header_without_content_is_damage(body: bytes) -> None:
    data = KINDS["baseline"]
    frame = data.index(b"\xff\xc0")
    segment = b"\xff\xc0" + struct.pack(">H", 2 + len(body)) + body
    with pytest.raises(ImageRejected):
        pixels_of(data[:frame] + segment + b"\x20" + data[frame + 19 :])


def test_a_jpeg_of_junk_behind_thousands_of_tables_takes_no_time() -> None:
    data = KINDS["baseline"]
    steps = data.index(b"\xff\xdb")
    odd = b"\xff\xdb" + struct.pack(">H", 2 + 4 * 65) + bytes([0, *range(1, 65)]) * 4 + b"\x05\x06\x07\x08\x09"
    started = time.process_time()
    np.testing.assert_array_equal(pixels_of(data[:steps] + odd * 20_000 + data[steps:]), pixels_of(data))
    assert time.process_time() - started < 5


@pytest.mark.parametrize("kind", ["progressive", "grey, progressive", "progressive, own steps"])
def test_up_to_two_bytes_behind_each_scan_of_a_progressive_jpeg_are_harmless(kind: str) -> None:
    data = KINDS[kind]
    whole = pixels_of(data)
    # What follows a scan is a table or the end.
    ends = [match.start() for match in re.finditer(rb"\xff[\xc4\xd9]", data) if match.start() > data.index(b"\xff\xda")]
    assert len(ends) > 3
    everywhere = data
    for end in reversed(ends):
        everywhere = everywhere[:end] + b"\x21\x07" + everywhere[end:]
        for junk in (b"\0", b"\x7f", b"\x7f\x12"):
            np.testing.assert_array_equal(pixels_of(data[:end] + junk + data[end:]), whole)
        corrupt(data[:end] + bytes(12) + data[end:])
    np.testing.assert_array_equal(pixels_of(everywhere), whole)
