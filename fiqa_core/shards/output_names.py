"""Names for images that are written: valid on every system, made from the key alone, always inside their folder."""

import re

from fiqa_core.images.headers import ImageFormat, recognise
from fiqa_core.shards.names import IMAGE_SUFFIXES, is_image, shortened, suffix

_SUFFIXES = {
    ImageFormat.JPEG: "jpg",
    ImageFormat.PNG: "png",
    ImageFormat.WEBP: "webp",
    ImageFormat.GIF: "gif",
    ImageFormat.BMP: "bmp",
    ImageFormat.TIFF: "tif",
    ImageFormat.AVIF: "avif",
    ImageFormat.HEIC: "heic",
}
# Control characters, what Windows refuses, and `~`, which marks names that were made different from others.
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f<>:"\\|?*~]')
_DEVICE = r"(?:con|prn|aux|nul|com\d|lpt\d)"
_DEVICES = re.compile(rf"(?i){_DEVICE}(?:\.|$)")
_MOST_CHARACTERS = 60  # at most four bytes each: a file system's 255 bytes a name hold them, with suffixes
_MOST_FOLDERS = 16
_NO_DEVICE = rf"(?!(?i:{_DEVICE})(?:[./]|$))"
# Keys (as a part of a regular expression) that `sample_key` leaves as they are; most keys are such.
PLAIN_KEY = rf"(?!__)(?:{_NO_DEVICE}[\w-][\w.-]{{0,59}}+(?<!\.)/){{0,16}}{_NO_DEVICE}[\w-]{{1,60}}"


def image_suffix(data: bytes, key: str) -> str:
    """The suffix (no dot) for an image's content; the suffix of its name if the content is not recognised."""
    found = recognise(data)
    if found is not None:
        return _SUFFIXES[found]
    return suffix(key) if suffix(key) in IMAGE_SUFFIXES else "jpg"


def sample_key(key: str) -> str:
    """A key that every WebDataset reader accepts: no dot in its last part, no `..`, no leading slash.

    Keys that are valid already keep their text (without an image's suffix).
    """
    parts = [_tidy(part) for part in _stem(key).split("/") if part not in ("", ".", "..")]
    if not parts:
        return "image"
    parts[-1] = parts[-1].replace(".", "_")
    # Readers skip members whose first part looks like `__this__`.
    if parts[0].startswith("__"):
        parts[0] = "_" + parts[0].lstrip("_")
    return "/".join([*parts[:-1][-_MOST_FOLDERS:], parts[-1]])


def file_stem(label: str | None, key: str) -> str:
    """`label/name` (or `name`, without a label) of an image file, without its suffix."""
    name = _tidy(_stem(key).rpartition("/")[2]).replace(".", "_") or "image"
    folder = label_folder(label or "")
    return f"{folder}/{name}" if folder else name


def label_folder(label: str) -> str:
    """The folder of an identity's images: its label, as a path inside the output that is valid on every system."""
    parts = [part for part in label.split("/") if part not in ("", ".", "..")]
    return "/".join(_tidy(part) for part in parts[-_MOST_FOLDERS:])


def _stem(key: str) -> str:
    return key.rpartition(".")[0] if is_image(key) else key


def _tidy(part: str) -> str:
    """One part of a path that is valid on Linux, macOS and Windows, and is not hidden."""
    text = _FORBIDDEN.sub("_", part)
    if len(text) > _MOST_CHARACTERS:
        text = _FORBIDDEN.sub("_", shortened(text, _MOST_CHARACTERS))
    text = text.rstrip(". ") or "_"
    if text.startswith(".") or _DEVICES.match(text):
        text = "_" + text
    return text
