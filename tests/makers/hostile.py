"""Bytes that arrive under an image's name and cannot be scored, each with the reason that must be given; and
tar members that no honest tool writes."""

import struct
import zlib

import numpy as np

from schemas.reasons import Status
from tests.makers.images import encoded, face_pixels, jpeg_bytes, png_bytes, webp_bytes

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"


def png_chunk(kind: bytes, body: bytes) -> bytes:
    """One PNG chunk with its length and checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def black_png(width: int, height: int) -> bytes:
    """A valid 1-bit grey PNG of any size: about a thousandth of a byte a pixel once compressed."""
    row = bytes(1 + (width + 7) // 8)
    compressor = zlib.compressobj(9)
    pixels = b"".join(compressor.compress(row) for _ in range(height)) + compressor.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return PNG_MAGIC + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", pixels) + png_chunk(b"IEND", b"")


def jpeg_that_says(width: int, height: int) -> bytes:
    """A small JPEG whose frame header announces another size."""
    data = bytearray(jpeg_bytes(0))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def bmp_that_says(width: int, height: int) -> bytes:
    """A small BMP whose header announces another size."""
    data = bytearray(encoded(face_pixels(0), "BMP"))
    data[18:26] = struct.pack("<ii", width, height)
    return bytes(data)


def jpeg_of_bits(precision: int) -> bytes:
    """A JPEG whose frame header announces another sample precision."""
    data = bytearray(jpeg_bytes(0))
    data[data.index(b"\xff\xc0") + 4] = precision
    return bytes(data)


def damaged_jpeg() -> bytes:
    """A JPEG with 40 bytes of its coded data overwritten in the middle."""
    data = bytearray(jpeg_bytes(0))
    middle = len(data) * 2 // 3
    data[middle : middle + 40] = bytes(np.random.default_rng(0).integers(0, 255, 40, np.uint8))
    return bytes(data)


def flipped(data: bytes, position: int) -> bytes:
    """`data` with all bits of one byte inverted."""
    return data[:position] + bytes([data[position] ^ 0xFF]) + data[position + 1 :]


def tar_member(name: bytes, data: bytes, kind: bytes = b"0", size_field: bytes | None = None) -> bytes:
    """A ustar member with a right checksum, whatever else is wrong with it; `size_field` are its 12 bytes."""
    size = size_field if size_field is not None else b"%011o\0" % len(data)
    header = bytearray(struct.pack("100s8s8s8s12s12s8s1s100s8s247x", name, b"0000644\0", b"0000000\0", b"0000000\0",
                                   size, b"00000000000\0", b" " * 8, kind, b"", b"ustar\00000"))  # fmt: skip
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + data + bytes(-len(data) % 512)


def pax_member(records: bytes, name: bytes, data: bytes) -> bytes:
    """A member with a pax block of these bytes before it."""
    return tar_member(b"././@PaxHeader", records, b"x") + tar_member(name, data)


def long_named_member(name: bytes, data: bytes) -> bytes:
    """A member with a GNU long name of any length."""
    return tar_member(b"././@LongLink", name + b"\0", b"L") + tar_member(name[:100], data)


TAR_END = bytes(1024)


def hostile_images() -> dict[str, tuple[bytes, Status]]:
    """File name -> (bytes, the status that decoding with default limits must give)."""
    jpeg, png, webp = jpeg_bytes(0), png_bytes(0), webp_bytes(0)
    gif, bmp, tiff = (encoded(face_pixels(0), name) for name in ("GIF", "BMP", "TIFF"))
    floats = np.linspace(0, 1, 32 * 32, dtype=np.float32).reshape(32, 32)
    return {
        "zero_bytes.jpg": (b"", Status.EMPTY),
        "text.jpg": (b"this is not a face\n" * 20, Status.NOT_AN_IMAGE),
        "bmw.bmp": (b"BMW is a maker of cars, and this is a text", Status.NOT_AN_IMAGE),
        "page.html.jpg": (b"<!DOCTYPE html><html><body>404 Not Found</body></html>", Status.NOT_AN_IMAGE),
        "drawing.svg": (b'<svg xmlns="http://www.w3.org/2000/svg" width="112"/>', Status.UNSUPPORTED),
        "pointer.jpg": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", Status.NOT_AN_IMAGE),
        "postscript.eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 112 112\n", Status.UNSUPPORTED),
        "photoshop.psd": (b"8BPS\x00\x01" + bytes(60), Status.UNSUPPORTED),
        "archive.png": (b"PK\x03\x04" + bytes(60), Status.NOT_AN_IMAGE),
        "nulls.jpg": (bytes(4096), Status.NOT_AN_IMAGE),
        "half.jpg": (jpeg[: len(jpeg) // 2], Status.TRUNCATED),
        "last_row_cut.jpg": (jpeg[:-12], Status.TRUNCATED),
        "header_only.jpg": (jpeg[:24], Status.TRUNCATED),
        "progressive_half.jpg": (jpeg_bytes(0, progressive=True)[: len(jpeg) // 2], Status.TRUNCATED),
        "half.png": (png[: len(png) // 2], Status.TRUNCATED),
        "no_end.png": (png[:-12], Status.TRUNCATED),
        "signature_only.png": (PNG_MAGIC, Status.TRUNCATED),
        "half.webp": (webp[: len(webp) // 2], Status.TRUNCATED),
        "header_only.webp": (webp[:16], Status.TRUNCATED),
        "half.bmp": (bmp[: len(bmp) // 2], Status.TRUNCATED),
        "half.gif": (gif[: len(gif) // 2], Status.TRUNCATED),
        "header_only.gif": (gif[:13], Status.TRUNCATED),
        "half.tiff": (tiff[: len(tiff) // 2], Status.TRUNCATED),
        "header_only.tiff": (tiff[:8], Status.TRUNCATED),
        "overwritten.jpg": (damaged_jpeg(), Status.CORRUPT),
        "no_frame.jpg": (b"\xff\xd8\xff\xd9" + bytes(20), Status.CORRUPT),
        "no_height.jpg": (jpeg_that_says(112, 0), Status.CORRUPT),
        "bad_checksum.png": (flipped(png, len(png) // 2), Status.CORRUPT),
        "bad_header_checksum.png": (flipped(png, 17), Status.CORRUPT),
        "noise.webp": (webp[:20] + bytes(len(webp) - 20), Status.CORRUPT),
        "float.tiff": (encoded(floats, "TIFF"), Status.UNSUPPORTED),
        "int32.tiff": (encoded(floats.astype(np.int32), "TIFF"), Status.UNSUPPORTED),
        "12_bit.jpg": (jpeg_of_bits(12), Status.UNSUPPORTED),
        "bomb.png": (black_png(20_000, 20_000), Status.TOO_LARGE),
        "wide.png": (black_png(30_000, 20), Status.TOO_LARGE),
        "many_pixels.png": (black_png(9_000, 9_000), Status.TOO_LARGE),
        "says_65535.jpg": (jpeg_that_says(65_535, 65_535), Status.TOO_LARGE),
        "says_a_billion.bmp": (bmp_that_says(30_000, -30_000), Status.TOO_LARGE),
        "one_pixel.png": (encoded(face_pixels(0)[:1, :1], "PNG"), Status.TOO_SMALL),
        "narrow.jpg": (encoded(face_pixels(0)[:, :8], "JPEG"), Status.TOO_SMALL),
    }
