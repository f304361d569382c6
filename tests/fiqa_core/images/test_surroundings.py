"""What surrounds the pixels never costs an image and never changes them; OpenCV is the witness."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from fiqa_core.images.decode import ImageLimits, ImageRejected, decode_rgb
from schemas.reasons import Status
from tests.makers.faces import lfw_faces
from tests.makers.hostile import PNG_MAGIC, png_chunk
from tests.makers.images import encoded, face_pixels, jpeg_bytes

FACE = face_pixels(0, 40)[:32]
JPEG, PNG, WEBP, GIF = (encoded(FACE, name) for name in ("JPEG", "PNG", "WEBP", "GIF"))
TABLES, FRAME, CODES, SCAN = (JPEG.index(b"\xff" + marker) for marker in (b"\xdb", b"\xc0", b"\xc4", b"\xda"))
LIMITS = ImageLimits()


def pixels_of(data: bytes) -> np.ndarray:
    return decode_rgb(data, LIMITS).pixels


def by_opencv(data: bytes) -> np.ndarray:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert pixels is not None
    return np.asarray(pixels)


def status_of(data: bytes) -> Status:
    with pytest.raises(ImageRejected) as caught:
        decode_rgb(data, LIMITS)
    return caught.value.status


def segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def exif(kind: int, layout: str, order: str, value: int = 6) -> bytes:
    """A TIFF block with an Orientation tag of any type."""
    head = b"II*\0" if order == "<" else b"MM\0*"
    stored = struct.pack(order + layout, value).ljust(4, b"\0")
    return head + struct.pack(order + "IHHHI", 8, 1, 0x0112, kind, 1) + stored + bytes(4)


EXIF = exif(3, "H", ">")


@pytest.mark.parametrize("place", [20, TABLES, FRAME, CODES, SCAN])
@pytest.mark.parametrize("junk", [b"\0", b"\x20" * 7, b"\xff\0\xff\0", b"\xff\xd3", b"\xff" * 999, b"\x11" * 70_000])
def test_bytes_between_the_segments_of_a_jpeg_header_are_harmless(place: int, junk: bytes) -> None:
    data = JPEG[:place] + junk + JPEG[place:]
    np.testing.assert_array_equal(pixels_of(data), by_opencv(data))
    np.testing.assert_array_equal(pixels_of(data), pixels_of(JPEG))


@pytest.mark.parametrize("junk", [b"\0", b"\x7f", b"\0\0", b"\x7f\x12", b"\xff", b"\xff\xff"])
def test_up_to_two_bytes_before_the_end_marker_are_harmless(junk: bytes) -> None:
    for face in lfw_faces(40):
        data = face.data[:-2] + junk + face.data[-2:]
        np.testing.assert_array_equal(pixels_of(data), by_opencv(data))
        np.testing.assert_array_equal(pixels_of(data), pixels_of(face.data))
    assert status_of(JPEG[:-2] + bytes(12) + JPEG[-2:]) is Status.CORRUPT


def test_anything_behind_the_end_marker_is_harmless() -> None:
    video = b"\0\0\0\x18ftypmp42" + b"\xff\xda\xff\xc0\xff\xe1Exif\0\0" * 200_000
    progressive = encoded(FACE, "JPEG", progressive=True)
    for jpeg in (JPEG, JPEG[:2] + segment(0xE1, b"Exif\0\0" + EXIF) + JPEG[2:], progressive):
        np.testing.assert_array_equal(pixels_of(jpeg + video), pixels_of(jpeg))
    for other in (PNG, GIF, WEBP, encoded(FACE, "BMP"), encoded(FACE, "TIFF")):
        np.testing.assert_array_equal(pixels_of(other + video), pixels_of(other))


def test_a_complete_scan_without_its_end_marker_may_be_followed_by_another_image() -> None:
    np.testing.assert_array_equal(pixels_of(JPEG[:-2] + jpeg_bytes(1)), pixels_of(JPEG))
    assert status_of(JPEG[:-40] + jpeg_bytes(1)) is Status.TRUNCATED


def test_odd_metadata_do_not_hide_a_damaged_scan() -> None:
    """The decoder that is told to be strict must see these too."""
    oddities = (
        JPEG.replace(b"JFIF\0\1", b"JFIF\0\x09"),
        JPEG[: SCAN + 12] + b"\0" + JPEG[SCAN + 13 :],
        JPEG[:2] + segment(0xE2, b"ICC_PROFILE\0\x02\x05") + JPEG[2:],
        JPEG[:2] + segment(0xEE, b"Adobe\0d\0\0\0\0\x09") + JPEG[2:],
    )
    noise = np.random.default_rng(0).integers(0, 255, 400, np.uint8).tobytes()
    for data in oddities:
        np.testing.assert_array_equal(pixels_of(data), pixels_of(JPEG))
        scan = data.index(b"\xff\xda") + 14
        damaged = data[: scan + 80] + noise + data[scan + 480 :]
        assert status_of(damaged) in {Status.CORRUPT, Status.TRUNCATED}


@pytest.mark.parametrize("body", [b"Adobe", b"Adobe\0d\0", b"Adobe\0d\0\0\0\0\1", b"Ado"])
def test_a_truncated_adobe_segment_is_passed_over(body: bytes) -> None:
    for data in (JPEG[:2] + segment(0xEE, body) + JPEG[2:], JPEG[:2] + segment(0xEE, body) + JPEG[20:]):
        np.testing.assert_array_equal(pixels_of(data), by_opencv(data))


def test_thumbnails_and_thousands_of_markers_inside_metadata_are_no_scans() -> None:
    for body in (b"Exif\0\0" + EXIF + JPEG, b"Exif\0\0" + EXIF + b"\xff\xda\0\0" * 300):
        data = JPEG[:2] + segment(0xE1, body) + JPEG[2:]
        np.testing.assert_array_equal(pixels_of(data), by_opencv(data))
    data = JPEG[:2] + segment(0xE1, b"Exif\0\0" + EXIF) + segment(0xFE, b"") * 6000 + JPEG[2:]
    np.testing.assert_array_equal(pixels_of(data), by_opencv(data))


def test_the_first_exif_block_that_tells_an_orientation_counts() -> None:
    good = segment(0xE1, b"Exif\0\0" + EXIF)
    for before in (segment(0xE1, b"Exif\0\0xx"), segment(0xE1, b"Exif\0\0MM\0*\0\0\0\x08\0\0"), b"\0\0"):
        data = JPEG[:20] + before + good + JPEG[20:]
        assert pixels_of(data).shape == (40, 32, 3)
        np.testing.assert_array_equal(pixels_of(data), by_opencv(data))


@pytest.mark.parametrize(("kind", "layout"), [(1, "B"), (3, "H"), (4, "I"), (6, "b"), (8, "h"), (9, "i")])
@pytest.mark.parametrize("order", ["<", ">"])
def test_orientation_is_honoured_in_every_integer_type_and_byte_order(kind: int, layout: str, order: str) -> None:
    block = exif(kind, layout, order)
    webp = Image.fromarray(FACE)
    buffer = io.BytesIO()
    webp.save(buffer, "WEBP", exif=block, lossless=True)
    tiff = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8 + FACE.nbytes) + FACE.tobytes()
    tags = [(256, 4, 40), (257, 4, 32), (258, 3, 8), (259, 3, 1), (262, 3, 2), (273, 4, 8), (274, kind, 6)]
    tags += [(277, 3, 3), (278, 4, 32), (279, 4, FACE.nbytes)]
    tiff += struct.pack(order + "H", len(tags))
    sizes = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}
    for tag, of, value in tags:
        tiff += struct.pack(order + "HHI", tag, of, 1) + struct.pack(order + sizes[of], value).ljust(4, b"\0")
    upright = np.rot90(FACE, -1)
    np.testing.assert_array_equal(pixels_of(tiff + bytes(4)), upright)
    np.testing.assert_array_equal(pixels_of(PNG[:33] + png_chunk(b"eXIf", block) + PNG[33:]), upright)
    np.testing.assert_array_equal(pixels_of(buffer.getvalue()), upright)
    turned = pixels_of(JPEG[:2] + segment(0xE1, b"Exif\0\0" + block) + JPEG[2:])
    np.testing.assert_array_equal(turned, np.rot90(pixels_of(JPEG), -1))


LARGE = zlib.compress(bytes(3_000_000))
ANCILLARY = {
    "large text": png_chunk(b"zTXt", b"Comment\0\0" + LARGE),
    "large xmp": png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + LARGE),
    "large profile": png_chunk(b"iCCP", b"icc\0\0" + LARGE),
    "unknown method": png_chunk(b"iCCP", b"icc\0\7" + LARGE),
    "many texts": png_chunk(b"zTXt", b"C\0\0" + LARGE) * 70,
    "unknown chunk": png_chunk(b"abCd", bytes(99)),
    "short chunks": png_chunk(b"cHRM", b"\5") + png_chunk(b"pHYs", b"\5") + png_chunk(b"tRNS", b"\5"),
    "wrong checksum": png_chunk(b"tEXt", b"Software\0x")[:-1] + b"\0",
    "wrong checksum of exif": png_chunk(b"eXIf", EXIF)[:-1] + b"\0",
    "suggested palette, wrong checksum": png_chunk(b"PLTE", bytes(9))[:-1] + b"\0",
}


@pytest.mark.parametrize("name", ANCILLARY)
def test_chunks_of_a_png_that_hold_no_pixels_are_passed_over(name: str) -> None:
    for place in (33, len(PNG) - 12):
        if name.startswith("suggested") and place != 33:
            continue
        data = PNG[:place] + ANCILLARY[name] + PNG[place:]
        np.testing.assert_array_equal(pixels_of(data), FACE)
        np.testing.assert_array_equal(by_opencv(data), FACE)


def png_of(rows: bytes, *before: bytes, colour: int = 2) -> bytes:
    header = struct.pack(">IIBBBBB", 40, 32, 8, colour, 0, 0, 0)
    body = zlib.compress(rows)
    return (
        PNG_MAGIC + png_chunk(b"IHDR", header) + b"".join(before) + png_chunk(b"IDAT", body) + png_chunk(b"IEND", b"")
    )


def test_a_png_with_too_few_rows_is_truncated_though_every_checksum_fits() -> None:
    rows = b"".join(b"\0" + row.tobytes() for row in FACE)
    np.testing.assert_array_equal(pixels_of(png_of(rows)), FACE)
    np.testing.assert_array_equal(pixels_of(png_of(rows + bytes(999))), FACE)
    for missing in (1, 121, 2000):
        assert status_of(png_of(rows[:-missing])) is Status.TRUNCATED


def test_damage_to_the_chunks_of_a_pngs_pixels_is_no_image() -> None:
    rows = bytes(41 * 32)
    palette = png_chunk(b"PLTE", bytes(range(48)))
    pixels_of(png_of(rows, palette, colour=3))
    assert status_of(png_of(rows, colour=3)) is Status.CORRUPT
    assert status_of(png_of(rows, palette[:-1] + b"\0", colour=3)) is Status.CORRUPT
    assert status_of(png_of(rows, palette, palette, colour=3)) is Status.CORRUPT
    assert status_of(PNG[:33] + PNG[8:]) is Status.CORRUPT
    assert status_of(PNG[:33] + png_chunk(b"ABCD", b"") + PNG[33:]) is Status.UNSUPPORTED
    assert status_of(PNG[:8] + png_chunk(b"CgBI", bytes(4)) + PNG[8:]) is Status.UNSUPPORTED


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"".join(kind + struct.pack("<I", len(data)) + data + bytes(len(data) % 2) for kind, data in chunks)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def test_chunks_around_a_webps_picture_are_passed_over() -> None:
    picture = (b"VP8 ", WEBP[20 : 20 + int.from_bytes(WEBP[16:20], "little")])
    canvas = bytes(4) + (39).to_bytes(3, "little") + (31).to_bytes(3, "little")
    whole = pixels_of(WEBP)
    for data in (
        riff((b"VP8X", canvas), (b"ICCP", bytes(999)), picture),
        riff((b"VP8X", canvas), (b"abcd", bytes(999)), picture, (b"VP8 ", b"xx")),
        riff((b"VP8X", canvas), picture, (b"EXIF", b"odd"), (b"XMP ", bytes(999_999))),
    ):
        np.testing.assert_array_equal(pixels_of(data), whole)
        np.testing.assert_array_equal(by_opencv(data), whole)


def test_extensions_of_a_gif_are_passed_over_and_a_cut_one_is_not_filled_up() -> None:
    start = 13 + 3 * (2 << (GIF[10] & 7))
    for extension in (b"!\xfe\5hello\0", b"!\x77\3abc\0", b"!\xf9\1\0\0", b"!\xff\2NE\0"):
        np.testing.assert_array_equal(pixels_of(GIF[:start] + extension + GIF[start:]), pixels_of(GIF))
    for cut in range(4, 60):
        assert status_of(GIF[:-cut]) is Status.TRUNCATED


def rle_bitmap(bits: int, body: bytes, gap: int = 0) -> bytes:
    header = struct.pack("<IiiHHIIiiII", 40, 40, 32, 1, bits, {8: 1, 4: 2}[bits], len(body), 0, 0, 16, 0)
    palette = b"".join(bytes([i * 17, 255 - i * 10, i * 3, 0]) for i in range(16))
    return b"BM" + struct.pack("<IHHI", 118 + gap + len(body), 0, 0, 118 + gap) + header + palette + bytes(gap) + body


@pytest.mark.parametrize("gap", [0, 1])
@pytest.mark.parametrize("run", [3, 4, 5, 7, 8])
@pytest.mark.parametrize("bits", [4, 8])
def test_run_length_coded_bitmaps_are_as_opencv_reads_them(bits: int, run: int, gap: int) -> None:
    body = bytearray()
    for row in (FACE[::-1, :, 1] >> 4).tolist():
        for at in range(0, 40, run):
            piece = [*row[at : at + run], 0]
            count = len(piece) - 1
            packed = bytes(piece[:-1])
            if bits == 4:
                packed = bytes(piece[i] << 4 | piece[i + 1] for i in range(0, count, 2))
            if count < 3:
                body += b"".join(bytes([1, value << 4 if bits == 4 else value]) for value in piece[:-1])
            else:
                body += bytes([0, count]) + packed + bytes(len(packed) % 2)
        body += b"\0\0"
    data = rle_bitmap(bits, bytes(body) + b"\0\1", gap)
    np.testing.assert_array_equal(pixels_of(data), by_opencv(data))
    assert status_of(data[:-60]) is Status.TRUNCATED


def test_runs_that_leave_their_row_are_corrupt() -> None:
    assert status_of(rle_bitmap(8, b"\xff\1" * 32 + b"\0\1")) is Status.CORRUPT
