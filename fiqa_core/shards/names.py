"""What the name of a record or member tells: whether it is an image, whether it is safe, its key and label."""

import hashlib
import re

# What is decoded, and what is not decoded but gets a row that says so: other formats of photographs, and camera raw
# files. Drawings, icons, documents and videos are not records.
_DECODED = "jpg jpeg jpe jfif jif jfi pjpeg pjp mpo png apng webp bmp dib gif tif tiff"
_DECODED += " avif avifs heic heics heif heifs hif"
_NAMED = "jp2 j2k j2c jpc jpf jpx jpm jxl jxr wdp hdp pbm pgm ppm pnm pam"
_NAMED += " psd psb xcf tga pcx exr qoi flif bpg jng"
_CAMERA_RAW = "dng cr2 cr3 crw nef nrw arw sr2 srf srw raf orf rw2 rwl pef x3f mrw 3fr erf mef mos iiq kdc dcr"
IMAGE_SUFFIXES = frozenset(f"{_DECODED} {_NAMED} {_CAMERA_RAW}".split())

# Linux's longest path (PATH_MAX). A longer name cannot be a file's, and a shard full of them would fill the memory.
MAX_NAME_CHARACTERS = 4096
MAX_LABEL_CHARACTERS = 1024

_STRAY_BYTE = re.compile("[\udc80-\udcff]")


def suffix(name: str) -> str:
    """Lower-case part after the last dot of the base name; empty if there is none."""
    return name.rpartition("/")[2].rpartition(".")[2].lower() if "." in name.rpartition("/")[2] else ""


def is_image(name: str) -> bool:
    """Whether a file is called like an image; its content is only looked at when it is decoded."""
    return suffix(name) in IMAGE_SUFFIXES


def is_safe(name: str) -> bool:
    """Whether a name stays inside its container: relative, no `..`, no NUL, no drive letter.

    Bytes that are not UTF-8 must be in it as surrogates: written out (`\\xff`) they would look like a path.
    """
    if "\0" in name or name.startswith(("/", "\\")) or name[1:2] == ":":
        return False
    return ".." not in name or ".." not in name.replace("\\", "/").split("/")


def parent(name: str) -> str | None:
    """The folder part of a relative path, None for a file that lies at the top."""
    return name.rpartition("/")[0] or None


def is_litter(name: str) -> bool:
    """Whether a file is one that macOS leaves beside the real ones; it is never a record."""
    base = name.rpartition("/")[2]
    return base.startswith("._") or base == ".DS_Store"


def printable(text: str) -> str:
    """Text that UTF-8 can hold: stray bytes (surrogates of `surrogateescape`) as `\\xff`, others as `\\ud800`."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        escaped = _STRAY_BYTE.sub(lambda stray: f"\\x{ord(stray[0]) - 0xDC00:02x}", text)
        return escaped.encode("utf-8", "backslashreplace").decode()
    return text


def shortened(text: str, limit: int) -> str:
    """Text of at most `limit` characters: its beginning and a digest, so that two texts stay two."""
    if len(text) <= limit:
        return text
    return f"{text[: limit - 17]}~{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"
