"""The segments of a JPEG: its header, and a copy with only the segments of its pixels.

Between the segments that matter a file may hold anything: comments, profiles, thumbnails, bytes of no segment, and
after the end marker whole videos. libjpeg skips all of this, but reports it as damage. The copy is without it, so that
every warning about the copy concerns pixels.
"""

import re
from itertools import accumulate
from typing import NamedTuple

from fiqa_core.images.admission import ImageRejected
from fiqa_core.images.jpeg_scans import ScanProgress
from fiqa_core.images.jpeg_tables import scan_header_was_shifted, sign_of_damage
from fiqa_core.images.orientation import EXIF, stored_orientation
from schemas.reasons import Status

SOI, EOI = b"\xff\xd8", b"\xff\xd9"
_SOF = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_SEQUENTIAL, _HUFFMAN = {0xC0, 0xC1, 0xC9}, {0xC0, 0xC1}
_SOI, _EOI, _SOS, _DNL, _APP0, _APP1, _APP14, _COM = 0xD8, 0xD9, 0xDA, 0xDC, 0xE0, 0xE1, 0xEE, 0xFE
_JPEG_LS = 0xF7
_OTHERS = {_DNL, _COM, *range(0xE0, 0xF0)}
# Not a marker: FF FF (filling), FF 00 (a coded FF), and the markers without a body, RST0..7 and TEM, of which the
# coded data are full.
_find_marker = re.compile(rb"\xff[\x02-\xcf\xd8-\xfe]").search
_JFIF = b"\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0"
_ADOBE = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0"
# A small file can hold thousands of scans that each go over every pixel (encoders write about ten), or millions of
# empty segments (a large colour profile and thumbnails take some hundreds).
MAX_SCANS = 100
_MAX_SEGMENTS = 200_000
_MAX_EXIF_BLOCKS = 16
_MAX_GAPS_LOOKED_AT = 32


class JpegHeader(NamedTuple):
    """The header of a JPEG, and the part of the file with its pixels.

    Attributes:
        process: the SOF marker's second byte. precision: bits a sample.
        orientation: EXIF's, 1..8.
        one_scan: sequential Huffman coding with all components in the first scan, so that its end is the image's, and
            libjpeg reports whether it is complete. (If arithmetic codes end too early, it silently uses zeros.)
        scans: how many there are; counting stops one above MAX_SCANS.
        ended: whether the image has an end marker.
        scan_ends: places in `image` where the coded data of each scan end.
        image: a whole JPEG of the same pixels, without any metadata, ended by an end marker.
    """

    process: int
    precision: int
    width: int
    height: int
    components: int
    orientation: int
    one_scan: bool
    scans: int
    ended: bool
    scan_ends: tuple[int, ...]
    image: bytes


class _Frame(NamedTuple):
    process: int
    precision: int
    width: int
    height: int
    components: int


class _Walk:
    """What was read from the segments so far."""

    def __init__(self) -> None:
        self.frame: _Frame | None = None
        self.orientation: int | None = None
        self.exif_blocks = 0
        self.jfif = False
        self.adobe: int | None = None
        self.scans = 0
        self.one_scan = False
        self.parts: list[bytes] = []
        self.coded_parts: list[int] = []
        self.progress = ScanProgress()
        self.gaps = 0

    def pass_over(self, marker: int, body: bytes, gap: bytes) -> None:
        """Note bytes that belong to no segment; they follow segment `marker`.

        Raises:
            ImageRejected: CORRUPT, if they show that the data before them were damaged.
        """
        if not gap.strip(b"\xff"):
            return  # A marker may begin with any number of FF.
        self.gaps += 1
        sign = sign_of_damage(marker, body, gap) if self.gaps <= _MAX_GAPS_LOOKED_AT else ""
        if sign:
            self._refuse(f"JPEG: {len(gap)} bytes that belong to no segment {sign}")

    def check_scan(self, body: bytes, coded: bytes) -> None:
        """Refuse a scan whose header `body` lost its end to the coded data after it.

        Raises:
            ImageRejected: CORRUPT.
        """
        if self.frame and self.frame.process in _SEQUENTIAL and scan_header_was_shifted(body, coded[:2]):
            self._refuse("JPEG: a byte was inserted into the header of a scan")

    def check_end(self, more_behind: bool) -> None:
        """Refuse missing scans if bytes were skipped that may have been a scan.

        Raises:
            ImageRejected: CORRUPT.
        """
        if self.frame and (self.gaps or more_behind) and not self.progress.is_complete(self.frame.components):
            self._refuse("JPEG: a scan is missing, and there are bytes that belong to no segment")

    def _refuse(self, message: str) -> None:
        raise ImageRejected(Status.CORRUPT, message, self.frame and self.frame.width, self.frame and self.frame.height)

    def take(self, marker: int, segment: bytes) -> None:
        """Note what a segment says and, if pixels depend on it, keep it (from its FF on)."""
        body = segment[4:]
        if marker in _OTHERS:
            if self.scans == 0:
                self._note(marker, body)
            return
        if marker in _SOF and self.frame is None and len(body) >= 6:
            height, width = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
            self.frame = _Frame(marker, body[0], width, height, body[5])
        if marker == _SOS and self.frame is not None:
            self.scans += 1
            if self.scans <= MAX_SCANS:
                self.progress.take(self.frame.process, body)
            if self.frame.process in _SEQUENTIAL:
                # The coefficients in the scan; always all here, although some encoders write another value.
                segment = segment[:-3] + b"\0\x3f\0"
            if self.scans == 1 and self.frame.process in _HUFFMAN:
                self.one_scan = body[:1] == bytes([self.frame.components])
        self.parts.append(segment)

    def _note(self, marker: int, body: bytes) -> None:
        if marker == _APP0 and body.startswith(b"JFIF\0") and len(body) >= 14:
            self.jfif = True
        elif marker == _APP14 and body.startswith(b"Adobe") and len(body) >= 12:
            self.adobe = body[11]
        elif marker == _APP1 and body.startswith(EXIF) and self.orientation is None:
            self.exif_blocks += 1
            if self.exif_blocks <= _MAX_EXIF_BLOCKS:
                self.orientation = stored_orientation(body)

    def colour_segments(self, components: int) -> bytes:
        """JFIF and Adobe segments in the plainest form that names the same colours."""
        named = _JFIF if self.jfif else b""
        if self.adobe is not None:
            # Codes that do not exist mean YCbCr, or YCCK for four components, as in libjpeg.
            usual = 2 if components == 4 else 1
            named += _ADOBE + bytes([self.adobe if self.adobe in (0, usual) else usual])
        return named


def read_segments(data: bytes) -> JpegHeader:
    """Walk over the segments to the end of the image: its end marker, or the last byte.

    Raises:
        ImageRejected: TRUNCATED (the file ends before its first scan), CORRUPT or UNSUPPORTED (JPEG-LS).
    """
    walk = _Walk()
    ended = _walk(data, walk)
    if walk.frame is None or not walk.scans:
        status, found = Status.CORRUPT, "JPEG: its segments lead to no image data"
        if not ended:
            status, found = Status.TRUNCATED, "JPEG: the file ends before its first scan"
        raise ImageRejected(status, found, walk.frame and walk.frame.width, walk.frame and walk.frame.height)
    before = SOI + walk.colour_segments(walk.frame.components)
    ends = [len(before) + end for end in accumulate(map(len, walk.parts))]
    return JpegHeader(
        *walk.frame,
        orientation=walk.orientation or 1,
        one_scan=walk.one_scan,
        scans=walk.scans,
        ended=ended,
        scan_ends=tuple(ends[part] for part in walk.coded_parts),
        image=b"".join([before, *walk.parts, EOI]),
    )


def _walk(data: bytes, walk: _Walk) -> bool:
    """Read the segments; returns whether the image has its own end (not only that of the file)."""
    position, last = 2, (_SOI, b"")
    for _ in range(_MAX_SEGMENTS):
        found = _find_marker(data, position)
        if found is None:
            return False
        start, marker = found.start(), data[found.end() - 1]
        if marker == _JPEG_LS and walk.frame is None:
            raise ImageRejected(Status.UNSUPPORTED, "JPEG-LS is not decoded here")
        if position < start:
            walk.pass_over(*last, data[position:start])
        if marker in (_SOI, _EOI):
            if marker == _EOI and walk.scans:
                walk.check_end(more_behind=start + 2 < len(data))
            # Another image may follow directly if the end marker is missing.
            return marker == _EOI or not walk.scans
        position = start + 2 + max(int.from_bytes(data[start + 2 : start + 4], "big"), 2)
        if position > len(data):
            return False
        last = marker, data[start + 4 : position]
        walk.take(marker, data[start:position])
        if marker == _SOS:
            if walk.frame is None or walk.scans > MAX_SCANS:
                return True
            found = _find_marker(data, position)
            end = found.start() if found else len(data)
            walk.check_scan(last[1], data[position:end])
            walk.coded_parts.append(len(walk.parts))
            walk.parts.append(data[position:end])
            position = end
            if walk.one_scan:
                return found is not None and data[end + 1] != _SOI
    raise ImageRejected(
        Status.UNSUPPORTED,
        f"JPEG: files of more than {_MAX_SEGMENTS} segments are not read here",
        walk.frame and walk.frame.width,
        walk.frame and walk.frame.height,
    )
