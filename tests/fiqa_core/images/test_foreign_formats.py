"""Images of formats that are not decoded are `unsupported` by name, whatever their file is called."""

import io
import struct
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from fiqa_core.images.decode import ImageLimits, ImageRejected, decode_rgb
from fiqa_core.shards.names import is_image
from schemas.reasons import Status
from tests.makers.containers import write_tar
from tests.makers.images import face_pixels
from tests.makers.runs import score_shards


def boxed(brand: bytes, *others: bytes) -> bytes:
    body = brand + bytes(4) + b"".join(others)
    return struct.pack(">I", len(body) + 8) + b"ftyp" + body + bytes(100)


def tiff_of(*tags: tuple[int, int, int, int]) -> bytes:
    return (
        b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *t) for t in tags) + bytes(9)
    )


FOREIGN = {
    "JPEG 2000": b"\0\0\0\x0cjP  \r\n\x87\n" + boxed(b"jp2 "),
    "JPEG 2000 (codestream)": b"\xff\x4f\xff\x51" + bytes(50),
    "JPEG XL": b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(20),
    "JPEG XL (codestream)": b"\xff\x0a" + bytes(30),
    "JPEG XR": b"II\xbc\x01" + bytes(30),
    "JPEG-LS": b"\xff\xd8\xff\xf7\0\x0b\x08\0\x20\0\x20\1\1\x11\0" + bytes(20),
    "DNG": tiff_of((254, 4, 1, 1), (50706, 1, 4, 0x401)),
    "camera raw": tiff_of((254, 4, 1, 1), (330, 4, 1, 8)),
    "Canon raw file (CR2)": b"II*\0\x10\0\0\0CR\2\0" + bytes(40),
    "Canon raw (CR3)": boxed(b"crx ", b"isom"),
    "Fujifilm raw": b"FUJIFILMCCD-RAW " + bytes(50),
    "Panasonic raw": b"IIU\0" + bytes(50),
    "Photoshop": b"8BPS\0\1" + bytes(50),
    "SVG": b'<?xml version="1.0"?>\n<!-- a drawing -->\n<svg xmlns="http://www.w3.org/2000/svg"/>',
    "PDF": b"%PDF-1.7\n" + bytes(50),
    "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n",
    "MP4": boxed(b"isom", b"mp41"),
    "QuickTime": boxed(b"qt  "),
    "AVI": b"RIFF" + bytes(4) + b"AVI LIST" + bytes(40),
    "Matroska": b"\x1aE\xdf\xa3" + bytes(40),
    "PNM": b"P6\n32 32\n255\n" + bytes(3072),
    "icon": b"\0\0\1\0\1\0\x20\x20" + bytes(40),
    "OpenEXR": b"\x76\x2f\x31\x01" + bytes(40),
    "BMP without its file header": struct.pack("<IiiHHI", 40, 32, 32, 1, 24, 0) + bytes(3100),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_known_foreign_format_is_unsupported_by_name(name: str) -> None:
    with pytest.raises(ImageRejected) as caught:
        decode_rgb(FOREIGN[name], ImageLimits())
    assert caught.value.status is Status.UNSUPPORTED, caught.value.message
    assert name.split(" (general")[0].split(" (codestream")[0] in caught.value.message


@pytest.mark.parametrize("extension", ["JPEG2000", "ICO", "PPM", "PDF", "TGA", "EPS"])
def test_what_pillow_writes_is_unsupported_too(extension: str) -> None:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    Image.fromarray(pixels).save(buffer, extension)
    with pytest.raises(ImageRejected) as caught:
        decode_rgb(buffer.getvalue(), ImageLimits())
    assert caught.value.status is Status.UNSUPPORTED


@pytest.mark.parametrize(
    "data", [b"<html><body>404</body></html>", b"PK\3\4" + bytes(50), bytes(500), b"P", b"(\0\0\0"]
)
def test_what_is_no_image_stays_one(data: bytes) -> None:
    with pytest.raises(ImageRejected) as caught:
        decode_rgb(data, ImageLimits())
    assert caught.value.status is Status.NOT_AN_IMAGE


def test_camera_raw_in_a_folder_and_in_a_tar_becomes_unsupported_and_mpo_is_scored(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    first, second = (Image.fromarray(face_pixels(seed, 48)) for seed in (1, 2))
    first.save(buffer, "MPO", save_all=True, append_images=[second])
    files = {"a.mpo": buffer.getvalue(), "b.dng": FOREIGN["DNG"], "c.NEF": FOREIGN["camera raw"]}
    files |= {"d.raf": FOREIGN["Fujifilm raw"], "e.psd": FOREIGN["Photoshop"]}
    (tmp_path / "folder").mkdir()
    for name, data in files.items():
        (tmp_path / "folder" / name).write_bytes(data)
    tar = write_tar(tmp_path / "shard.tar", list(files.items()))
    for number, shard in enumerate((tmp_path / "folder", tar)):
        score_shards(tmp_path / f"out{number}", [shard])
        rows = pq.read_table(tmp_path / f"out{number}" / "quality", columns=["key", "status", "message"]).to_pylist()
        status = {row["key"].split(".")[0]: row["status"] for row in rows}
        assert status == {"a": "scored"} | dict.fromkeys("bcde", "unsupported")
        assert [row["message"] for row in rows if row["key"].startswith("a")] == [None]


def test_names_of_images_that_are_decoded_or_told_of() -> None:
    for suffix in (
        "mpo",
        "heif",
        "hif",
        "jxl",
        "dib",
        "apng",
        "jfif",
        "jpe",
        "pjpeg",
        "avif",
        "j2k",
        "tif",
        "pnm",
        "psd",
    ):
        assert is_image(f"a.{suffix}")
        assert is_image(f"folder/b.{suffix.upper()}")
    for suffix in ("dng", "cr2", "cr3", "nef", "arw", "raf", "orf", "rw2", "pef", "srw", "x3f"):
        assert is_image(f"camera/c.{suffix}")
    for other in ("a.svg", "a.pdf", "a.mp4", "a.mov", "a.ico", "a.raw", "a.cls", "a.json", "a.txt", "mpo", "a.npy"):
        assert not is_image(other)
