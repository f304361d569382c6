"""The first directory of a TIFF: a copy of the file with only the tags that the pixels depend on.

Every tag names a place and a length. Thousands of tags may name the same megabyte, which readers copy each time, and
directories may refer to each other endlessly. The copy has one small directory, after the old content. A BigTIFF
becomes an ordinary TIFF, since Pillow does not read big-endian ones.
"""

from collections.abc import Iterator
from typing import Literal, NamedTuple

from fiqa_core.images.admission import ImageRejected
from schemas.reasons import Status

_SUBFILE_KIND, _ORIENTATION, _SUB_DIRECTORIES, _DNG_VERSION = 254, 274, 330, 50706
_WIDTH, _HEIGHT, _SAMPLES, _ROWS_A_STRIP, _PLANES = 256, 257, 277, 278, 284
_TILE_WIDTH, _TILE_HEIGHT, _STRIPS, _STRIP_BYTES, _TILES, _TILE_BYTES = 322, 323, 273, 279, 324, 325
_COMPRESSION = 259
_PARTS = {_STRIPS, _STRIP_BYTES, _TILES, _TILE_BYTES}
# Also: bits, compression, colours, bit order, fax options, predictor, palette, inks, alpha, sample format, JPEG tables
# (new and old style) and YCbCr.
_KEPT = _PARTS | {
    _WIDTH, _HEIGHT, _SAMPLES, _ROWS_A_STRIP, _PLANES, _TILE_WIDTH, _TILE_HEIGHT,
    258, _COMPRESSION, 262, 266, 292, 293, 317, 320, 332, 338, 339, 347,
    *range(512, 516), *range(517, 522), *range(529, 533),
}  # fmt: skip
# Bytes of one value by its type's code; 16 to 18 are BigTIFF's.
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_ORDINARY = {16: 4, 17: 9, 18: 13}
_INTEGERS = {1, 3, 4, 6, 8, 9, 13, 16, 17, 18}
_FOREIGN_CODINGS = {
    33003: "JPEG 2000", 33005: "JPEG 2000", 34712: "JPEG 2000", 34887: "LERC", 34892: "lossy DNG", 34933: "PNG",
    34934: "JPEG XR", 50001: "WebP", 50002: "JPEG XL", 52546: "JPEG XL",
}  # fmt: skip
_MAX_ENTRIES = 65_535
_MAX_TAG_BYTES = 1 << 20
_MAX_PARTS = 200_000


class TiffPixels(NamedTuple):
    """`image`: a TIFF of the first page's pixels; `orientation`: the tag's, 1..8."""

    image: bytes
    orientation: int


class _Entry(NamedTuple):
    """A tag: its type, how many values, their place in the file, and whether that is in the directory itself."""

    kind: int
    amount: int
    place: int
    inside: bool


def first_page(data: bytes) -> TiffPixels:
    """Read the first directory of a TIFF that contains it completely.

    Raises:
        ImageRejected: TRUNCATED, CORRUPT or UNSUPPORTED, without a size.
    """
    layout = _Layout(data)
    tags: dict[int, _Entry] = {}
    for tag, entry in layout.entries():
        # The first one counts, as in libtiff.
        tags.setdefault(tag, entry)
    _check_camera(layout, tags)
    for tag in sorted(tags.keys() & _KEPT):
        _check_entry(layout, tag, tags[tag])
    _check_coding(layout, tags)
    _check_parts(layout, tags)
    orientation = layout.number(tags.get(_ORIENTATION), 1)
    kept = {tag: entry for tag, entry in tags.items() if tag in _KEPT}
    return TiffPixels(layout.with_directory(kept), orientation if 1 <= orientation <= 8 else 1)


class _Layout:
    """Byte order and field widths: BigTIFF has wider offsets, counts and entries."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.order: Literal["little", "big"] = "little" if data[:1] == b"I" else "big"
        self.big = 43 in data[2:4]
        self.width = 8 if self.big else 4
        self.start = 8 if self.big else 4
        self.count_bytes = 8 if self.big else 2
        self.entry_bytes = 20 if self.big else 12

    def integer(self, position: int, size: int) -> int:
        return int.from_bytes(self.data[position : position + size], self.order)

    def entries(self) -> Iterator[tuple[int, _Entry]]:
        directory = self.integer(self.start, self.width)
        count = self.integer(directory, self.count_bytes)
        if count > _MAX_ENTRIES:
            raise ImageRejected(Status.UNSUPPORTED, f"TIFF: a directory of {count} tags is not read here")
        first = directory + self.count_bytes
        for position in range(first, first + count * self.entry_bytes, self.entry_bytes):
            kind, values = self.integer(position + 2, 2), self.integer(position + 4, self.width)
            place = position + 4 + self.width
            inside = _SIZES.get(kind, 1) * values <= self.width
            if not inside:
                place = self.integer(place, self.width)
            yield self.integer(position, 2), _Entry(kind, values, place, inside)

    def number(self, entry: _Entry | None, otherwise: int) -> int:
        """A tag's first value, if it is of an integer type."""
        if entry is None or entry.kind not in _INTEGERS or not entry.amount:
            return otherwise
        return self.integer(entry.place, _SIZES[entry.kind])

    def with_directory(self, tags: dict[int, _Entry]) -> bytes:
        """The data with a new directory of these tags at the end, to which the header points, and no second one."""
        parts, end = [self.data[8:], bytes(len(self.data) % 2)], len(self.data) + len(self.data) % 2
        entries = [len(tags).to_bytes(2, self.order)]
        for tag, entry in sorted(tags.items()):
            values = self._values(entry)
            if len(values) <= 4:
                place = values.ljust(4, b"\0")
            elif not self.big:
                place = entry.place.to_bytes(4, self.order)
            else:
                place, end = end.to_bytes(4, self.order), end + len(values) + len(values) % 2
                parts += [values, bytes(len(values) % 2)]
            kind = _ORDINARY.get(entry.kind, entry.kind)
            entries += [tag.to_bytes(2, self.order), kind.to_bytes(2, self.order), entry.amount.to_bytes(4, self.order)]
            entries.append(place)
        version = (42).to_bytes(2, self.order)
        return b"".join([self.data[:2], version, end.to_bytes(4, self.order), *parts, *entries, bytes(4)])

    def _values(self, entry: _Entry) -> bytes:
        """A tag's values as an ordinary TIFF stores them."""
        size = _SIZES[entry.kind]
        stored = self.data[entry.place : entry.place + size * entry.amount]
        if entry.kind not in _ORDINARY:
            return stored
        low = slice(4, 8) if self.order == "big" else slice(0, 4)
        return b"".join(stored[at : at + size][low] for at in range(0, len(stored), size))


def _check_camera(layout: _Layout, tags: dict[int, _Entry]) -> None:
    reduced = layout.number(tags.get(_SUBFILE_KIND), 0) & 1
    canon = layout.data[8:10] == b"CR" and layout.data[:1] == b"I"
    if canon or _DNG_VERSION in tags or (reduced and _SUB_DIRECTORIES in tags):
        name = "Canon raw file (CR2)" if canon else "DNG" if _DNG_VERSION in tags else "camera raw file"
        raise ImageRejected(Status.UNSUPPORTED, f"TIFF: a {name}, whose first page is a preview, is not decoded here")


def _check_coding(layout: _Layout, tags: dict[int, _Entry]) -> None:
    coding = layout.number(tags.get(_COMPRESSION), 1)
    if coding in _FOREIGN_CODINGS:
        raise ImageRejected(Status.UNSUPPORTED, f"TIFF: {_FOREIGN_CODINGS[coding]} inside is not decoded here")


def _check_entry(layout: _Layout, tag: int, entry: _Entry) -> None:
    size = _SIZES.get(entry.kind)
    if size is None:
        raise ImageRejected(Status.CORRUPT, f"TIFF: tag {tag} is of type {entry.kind}, which does not exist")
    if tag in _PARTS and entry.amount > _MAX_PARTS:
        raise ImageRejected(
            Status.UNSUPPORTED, f"TIFF: pixels in {entry.amount} parts are not decoded here, {_MAX_PARTS} at most are"
        )
    if tag not in _PARTS and size * entry.amount > _MAX_TAG_BYTES:
        raise ImageRejected(Status.UNSUPPORTED, f"TIFF: tag {tag} of {size * entry.amount} bytes is not read here")
    if entry.place + size * entry.amount > len(layout.data):
        raise ImageRejected(Status.TRUNCATED, f"TIFF: the file ends before the values of tag {tag}")


def _check_parts(layout: _Layout, tags: dict[int, _Entry]) -> None:
    """Refuse a page that names fewer strips or tiles than its pixels take: Pillow leaves the rest black."""
    width, height = layout.number(tags.get(_WIDTH), 0), layout.number(tags.get(_HEIGHT), 0)
    across, down, offsets = width, layout.number(tags.get(_ROWS_A_STRIP), height), tags.get(_STRIPS)
    if offsets is None:
        across, down = layout.number(tags.get(_TILE_WIDTH), 0), layout.number(tags.get(_TILE_HEIGHT), 0)
        offsets = tags.get(_TILES)
    if offsets is None or width < 1 or height < 1 or across < 1 or down < 1:
        return  # The reader reports what is missing.
    planes = layout.number(tags.get(_SAMPLES), 1) if layout.number(tags.get(_PLANES), 1) == 2 else 1
    needed = -(-width // across) * -(-height // down) * planes
    if offsets.amount < needed:
        raise ImageRejected(Status.CORRUPT, f"TIFF: its pixels take {needed} parts, and it names {offsets.amount}")
