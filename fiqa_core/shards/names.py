"""What the name of a record or member says: is it an image, is it safe, which key and label does it give."""

IMAGE_SUFFIXES = frozenset(
    {
        "jpg",
        "jpeg",
        "jpe",
        "jfif",
        "png",
        "webp",
        "bmp",
        "gif",
        "tif",
        "tiff",
        "ppm",
        "pgm",
        "jp2",
        "heic",
        "avif",
    }
)


def suffix(name: str) -> str:
    """Lower-case part after the last dot of the base name; empty if there is none."""
    return name.rpartition("/")[2].rpartition(".")[2].lower() if "." in name.rpartition("/")[2] else ""


def is_image(name: str) -> bool:
    """Whether a name says that it is an image; the content is looked at only when it is decoded."""
    return suffix(name) in IMAGE_SUFFIXES


def is_safe(name: str) -> bool:
    """Whether a name stays inside its container: relative, no `..`, no NUL, no drive letter."""
    parts = name.replace("\\", "/").split("/")
    return not (name.startswith(("/", "\\")) or ".." in parts or "\0" in name or name[1:2] == ":")


def parent(name: str) -> str | None:
    """The folder part of a relative path, None for a file that lies at the top."""
    return name.rpartition("/")[0] or None


def is_litter(name: str) -> bool:
    """Whether a file is what macOS leaves beside the real ones; never a record."""
    base = name.rpartition("/")[2]
    return base.startswith("._") or base == ".DS_Store"
