"""Every image that cannot be scored gets its reason, its size where the header tells, and costs no memory."""

import io
import pickle
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from fiqa_core.images import jpeg
from fiqa_core.images.decode import ImageLimits, ImageRejected, decode_rgb
from schemas.reasons import Status
from tests.makers.faces import lfw_faces
from tests.makers.hostile import flipped, hostile_images, jpeg_that_says, png_chunk
from tests.makers.images import encoded, face_pixels, jpeg_bytes, png_bytes, webp_bytes

HOSTILE = hostile_images()
# Pillow warns of what it finds in damaged metadata.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")


def rejection(data: bytes, limits: ImageLimits | None = None) -> ImageRejected:
    with pytest.raises(ImageRejected) as caught:
        decode_rgb(data, limits or ImageLimits())
    return caught.value


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_image_gets_its_reason(name: str) -> None:
    data, status = HOSTILE[name]
    error = rejection(data)
    assert error.status is status, error.message
    assert error.message


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("half.jpg", (112, 112)),
        ("overwritten.jpg", (112, 112)),
        ("half.png", (112, 112)),
        ("bad_checksum.png", (112, 112)),
        ("half.webp", (112, 112)),
        ("half.gif", (112, 112)),
        ("half.bmp", (112, 112)),
        ("half.tiff", (112, 112)),
        ("bomb.png", (20_000, 20_000)),
        ("wide.png", (30_000, 20)),
        ("says_65535.jpg", (65_535, 65_535)),
        ("one_pixel.png", (1, 1)),
        ("text.jpg", (None, None)),
        ("header_only.jpg", (None, None)),
    ],
)
def test_stored_size_is_told_where_the_header_tells_it(name: str, size: tuple[int | None, int | None]) -> None:
    error = rejection(HOSTILE[name][0])
    assert (error.width, error.height) == size


def test_a_rejection_travels_between_processes() -> None:
    error = rejection(HOSTILE["bomb.png"][0])
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - bytes of this test's own making
    assert (copy.status, copy.message, copy.width, copy.height) == (Status.TOO_LARGE, error.message, 20_000, 20_000)
    assert str(copy) == str(error) == f"too_large: {error.message}"


def test_a_size_no_table_can_hold_is_left_out() -> None:
    header = png_chunk(b"IHDR", b"\xff\xff\xff\xff" + b"\0\0\0\x10" + bytes([8, 0, 0, 0, 0]))
    error = rejection(b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IEND", b""))
    assert error.status is Status.TOO_LARGE
    assert (error.width, error.height) == (None, 16)


def test_limits_include_their_ends() -> None:
    limits = ImageLimits(min_side=112, max_side=112, max_pixels=112 * 112)
    assert decode_rgb(jpeg_bytes(0), limits).width == 112
    assert rejection(jpeg_bytes(0), ImageLimits(min_side=113)).status is Status.TOO_SMALL
    assert rejection(jpeg_bytes(0), ImageLimits(max_side=111)).status is Status.TOO_LARGE
    assert rejection(png_bytes(0), ImageLimits(max_pixels=112 * 112 - 1)).status is Status.TOO_LARGE


def test_every_beginning_of_a_jpeg_is_truncated() -> None:
    data = jpeg_bytes(0)
    for end in range(3, len(data) - 2):
        assert rejection(data[:end]).status is Status.TRUNCATED, end


def test_a_jpeg_that_lacks_only_its_end_marker_is_whole() -> None:
    for face in lfw_faces(100):
        whole = decode_rgb(face.data, ImageLimits())
        assert face.data.endswith(b"\xff\xd9")
        for cut in (1, 2):
            np.testing.assert_array_equal(decode_rgb(face.data[:-cut], ImageLimits()).pixels, whole.pixels)


def test_a_progressive_jpeg_without_its_end_may_lack_detail_and_is_truncated() -> None:
    data = jpeg_bytes(0, progressive=True)
    last_scan = data.rindex(b"\xff\xda")
    for end in (len(data) - 2, last_scan, last_scan - 40, len(data) // 2):
        assert rejection(data[:end]).status is Status.TRUNCATED


@pytest.mark.parametrize(
    "data",
    [
        png_bytes(0),
        webp_bytes(0),
        encoded(face_pixels(0), "BMP"),
        encoded(face_pixels(0), "TIFF"),
    ],
    ids=["png", "webp", "bmp", "tiff"],
)
def test_every_beginning_of_other_formats_is_truncated(data: bytes) -> None:
    for end in range(0, len(data), max(1, len(data) // 200)):
        assert rejection(data[:end]).status in {Status.EMPTY, Status.NOT_AN_IMAGE, Status.TRUNCATED}, end


def test_a_tiff_that_ends_inside_its_directory_is_rejected() -> None:
    """The directory is last in such a file; where it lost but a few values, Pillow names another reason."""
    data = encoded(face_pixels(0), "TIFF", compression="tiff_lzw")
    directory = int.from_bytes(data[4:8], "little")
    assert len(data) - 300 < directory < len(data)
    for end in range(directory - 100, directory + 100):
        assert rejection(data[:end]).status is Status.TRUNCATED, end
    for end in range(directory + 100, len(data)):
        assert rejection(data[:end]).status in {Status.TRUNCATED, Status.UNSUPPORTED, Status.CORRUPT}, end


def test_bytes_after_the_end_are_harmless_in_every_format() -> None:
    for data in (png_bytes(0), webp_bytes(0), *(encoded(face_pixels(0), name) for name in ("GIF", "BMP", "TIFF"))):
        np.testing.assert_array_equal(
            decode_rgb(data + b"trailing bytes", ImageLimits()).pixels, decode_rgb(data, ImageLimits()).pixels
        )


def test_any_damaged_byte_of_a_png_is_noticed() -> None:
    data = png_bytes(0)
    for position in range(8, len(data), 97):
        assert rejection(flipped(data, position)).status in {Status.CORRUPT, Status.TRUNCATED}, position


def test_a_jpeg_with_a_lost_block_is_corrupt() -> None:
    """512 bytes, a disk's sector, are nearly always noticed; shorter damage less often (see `jpeg.py`)."""
    rng = np.random.default_rng(0)
    outcomes: Counter[str] = Counter()
    for face in lfw_faces(300):
        start = int(rng.integers(face.data.index(b"\xff\xda") + 14, len(face.data) - 514))
        damaged = face.data[:start] + rng.integers(0, 256, 512, np.uint8).tobytes() + face.data[start + 512 :]
        try:
            decode_rgb(damaged, ImageLimits())
            outcomes["unnoticed"] += 1
        except ImageRejected as error:
            outcomes[error.status] += 1
    assert outcomes[Status.CORRUPT] >= 0.98 * 300, outcomes


def test_damaged_four_colour_jpeg_is_corrupt() -> None:
    buffer = io.BytesIO()
    Image.fromarray(face_pixels(0)).convert("CMYK").save(buffer, "JPEG")
    data = buffer.getvalue()
    middle = len(data) // 2
    assert rejection(data[:middle] + b"\x5a\xa5" * 20 + data[middle + 40 :]).status is Status.CORRUPT
    assert rejection(data[:middle]).status is Status.TRUNCATED


def test_a_jpeg_of_thousands_of_scans_is_not_started() -> None:
    data = jpeg_bytes(0, progressive=True)
    last_scan = data.rindex(b"\xff\xda")
    many = data[:-2] + data[last_scan:-2] * 3000 + data[-2:]
    assert rejection(many).status is Status.UNSUPPORTED


def test_a_jpeg_of_endless_segments_is_given_up() -> None:
    empty_segments = b"\xff\xe5\x00\x02" * 2_000_000
    assert rejection(b"\xff\xd8" + empty_segments).status is Status.UNSUPPORTED


def test_out_of_memory_is_one_images_affair(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(data: bytes, colours: str) -> np.ndarray:
        raise MemoryError

    monkeypatch.setattr(jpeg, "_strictly", no_memory)
    error = rejection(jpeg_bytes(0))
    assert (error.status, error.width, error.height) == (Status.TOO_LARGE, 112, 112)


_PEAK = """
import resource
from tests.makers.hostile import hostile_images
from tests.makers.images import png_bytes
from fiqa_core.images.decode import ImageLimits, ImageRejected, decode_rgb
images = hostile_images()
decode_rgb(png_bytes(0), ImageLimits())
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for data, _ in images.values():
    try:
        decode_rgb(data, ImageLimits())
    except ImageRejected:
        pass
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_rejecting_takes_no_memory() -> None:
    """The bomb's pixels would be 1.2 GB, those that the JPEG header promises 12.9 GB."""
    run = subprocess.run([sys.executable, "-c", _PEAK], capture_output=True, text=True, check=True)
    assert int(run.stdout) < 20_000  # kB


def test_threads_do_not_disturb_each_other() -> None:
    images = [make(seed) for seed in range(20) for make in (jpeg_bytes, png_bytes, webp_bytes)]
    images += [data for data, _ in HOSTILE.values() if len(data) < 50_000]

    def outcome(data: bytes) -> bytes | tuple[object, ...]:
        try:
            return decode_rgb(data, ImageLimits()).pixels.tobytes()
        except ImageRejected as error:
            return error.args

    alone = [outcome(data) for data in images]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(outcome, images * 3)) == alone * 3


def test_pillows_size_limit_neither_warns_nor_applies(recwarn: pytest.WarningsRecorder) -> None:
    for name in ("bomb.png", "many_pixels.png"):
        rejection(HOSTILE[name][0])
    rejection(jpeg_that_says(9_999, 9_999))
    decode_rgb(HOSTILE["many_pixels.png"][0], ImageLimits(max_pixels=100_000_000))
    assert not recwarn.list
