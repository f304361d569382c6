"""Signs that bytes between two segments of a JPEG were pushed out of a table, or were a table before damage.

Bytes that belong to nothing are harmless, whatever they are. But a byte inserted into a table pushes the table's last
byte out of its segment, a byte removed lets the segment swallow the next marker, and a segment whose own marker is
damaged looks like such bytes too. The pixels are then other ones, and libjpeg has nothing to say. Only signs count:
a table that is merely unusual is sound. (So a byte inserted into quantisation steps that are not libjpeg's stays
unseen, as one that was overwritten does.)
"""

from collections.abc import Callable
from functools import cache

import numpy as np
import simplejpeg

_SOF0, _DHT, _JPG, _DAC, _SOS, _DQT, _DRI, _APP14 = 0xC0, 0xC4, 0xC8, 0xCC, 0xDA, 0xDB, 0xDD, 0xEE
_FRAMES = {*range(_SOF0, 0xD0)} - {_DHT, _JPG, _DAC}
_ON_WHICH_PIXELS_DEPEND = _FRAMES | {_DHT, _DAC, _SOS, _DQT, _DRI, _APP14}
# Damage of more bytes than this is not detected.
_MOST_SHIFTED = 8
# Four tables of each class, of 256 symbols.
_LONGEST_TABLES = 2 * 4 * (1 + 16 + 256)
_STEPS = 64
# A table of libjpeg's in which more steps were overwritten is not recognised.
_MOST_OVERWRITTEN = 6


def sign_of_damage(marker: int, body: bytes, behind: bytes) -> str:
    """The sign that segment `marker` and the bytes after it, up to the next marker, were damaged; "" if there is
    none."""
    if _is_a_segment_without_its_marker(behind):
        return "look like a segment whose marker is damaged"
    if marker not in _ON_WHICH_PIXELS_DEPEND or len(body) > _LONGEST_TABLES:
        return ""
    if _swallowed(body, behind):
        return f"follow segment {marker:#x}, which lacks bytes and took the next marker for its own"
    shifted = (
        (marker == _DQT and _steps_were_shifted(body + behind[:_MOST_SHIFTED], len(body)))
        or (marker == _DHT and _was_shifted(_are_whole_codes, body, behind))
        or (marker in _FRAMES and _was_shifted(_is_whole_frame, body, behind))
    )
    return f"follow segment {marker:#x}, out of which an inserted byte pushed them" if shifted else ""


def scan_header_was_shifted(body: bytes, coded: bytes) -> bool:
    """Whether the end of a sequential scan's header (coefficients 0 to 63) is in its coded data."""
    end = b"\0\x3f\0"
    return body[-3:] != end and any((body + coded[:count])[-3:] == end for count in (1, 2))


def _is_a_segment_without_its_marker(junk: bytes) -> bool:
    """Whether one byte of the marker was changed and the length leads exactly to the next marker."""
    for start in range(min(_MOST_SHIFTED, len(junk) - 3)):
        first, kind = junk[start], junk[start + 1]
        if (first == 0xFF) == (kind in _ON_WHICH_PIXELS_DEPEND):
            continue
        if int.from_bytes(junk[start + 2 : start + 4], "big") == len(junk) - start - 2 > 2:
            return True
    return False


def _swallowed(body: bytes, behind: bytes) -> bool:
    """Whether a marker among the segment's last bytes begins a segment that ends where the next one begins."""
    stream, border = body[-_MOST_SHIFTED:] + behind, min(len(body), _MOST_SHIFTED)
    for start in range(border):
        if stream[start : start + 1] != b"\xff" or len(stream) < start + 5:
            continue
        kind, length = stream[start + 1], int.from_bytes(stream[start + 2 : start + 4], "big")
        if kind == _SOS and length == 6 + 2 * stream[start + 4]:
            return True
        if kind in _ON_WHICH_PIXELS_DEPEND and start + 2 + length == len(stream):
            return True
    return False


def _steps_were_shifted(stream: bytes, length: int) -> bool:
    """Whether the first table that is not libjpeg's becomes one, or nearly, without some bytes in a row.

    `stream` is the body of a DQT segment, of `length` bytes, and the bytes after it.
    """
    start = 0
    while length - start >= _STEPS and stream[start + 1 : start + 1 + _STEPS] in _usual_steps():
        start += 1 + _STEPS
    if length - start < 1 + _STEPS:
        return False
    window = np.frombuffer(stream[start : start + 1 + _STEPS + _MOST_SHIFTED], np.uint8)
    usual = np.frombuffer(b"".join(_usual_steps()), np.uint8).reshape(-1, _STEPS)
    as_stored = _least_different(window[np.newaxis, 1 : 1 + _STEPS], usual)
    kept = np.arange(1 + _STEPS)
    for count in range(1, len(window) - _STEPS):
        # One row for each place at which `count` bytes are left out.
        places = kept + count * (kept >= kept[:, np.newaxis])
        without = _least_different(window[places[:, 1:]], usual)
        if without < as_stored and without <= _MOST_OVERWRITTEN:
            return True
    return False


def _least_different(tables: np.ndarray, usual: np.ndarray) -> int:
    """In how many steps one of `tables` (N, 64) differs from the nearest of `usual` (M, 64)."""
    return int((tables[:, np.newaxis] != usual).sum(2).min())


@cache
def _usual_steps() -> frozenset[bytes]:
    """The tables (64 bytes) that libjpeg writes at each quality; other encoders mostly write the same."""
    tables, pixels = set(), np.zeros((8, 8, 3), np.uint8)
    for quality in range(1, 101):
        data = simplejpeg.encode_jpeg(pixels, quality)
        # Both tables have 67 bytes with their length, and follow each other.
        first = data.index(b"\xff\xdb\0\x43") + 5
        tables |= {data[first : first + 64], data[first + 69 : first + 133]}
    return frozenset(tables)


def _was_shifted(is_whole: Callable[[bytes], bool], body: bytes, behind: bytes) -> bool:
    """Whether a segment that is not whole becomes so without some bytes in a row."""
    if is_whole(body):
        return False
    return any(
        is_whole(body[:at] + body[at + count :] + behind[:count])
        for count in range(1, min(_MOST_SHIFTED, len(behind)) + 1)
        for at in range(len(body) - count + 1)
    )


def _are_whole_codes(body: bytes) -> bool:
    """Whether all symbols exist (differences of up to 11 bits, coefficients of up to 10), none comes twice, those of
    one length ascend, and the lengths add up; nearly every shifted table breaks one of these."""
    position = 0
    while position < len(body):
        counts = body[position + 1 : position + 17]
        start, end = position + 17, position + 17 + sum(counts)
        symbols = body[start:end]
        if end > len(body) or body[position] & 0xEC or len(set(symbols)) < len(symbols):
            return False
        if max(symbols, default=0) > 11 if body[position] < 0x10 else any(symbol & 15 > 10 for symbol in symbols):
            return False
        for count in counts:
            if list(body[start : start + count]) != sorted(body[start : start + count]):
                return False
            start += count
        position = end
    return position == len(body) > 0


def _is_whole_frame(body: bytes) -> bool:
    if len(body) < 9 or len(body) != 6 + 3 * body[5]:
        return False
    components = [body[at : at + 3] for at in range(6, len(body), 3)]
    return len({component[0] for component in components}) == len(components) and all(
        1 <= c[1] >> 4 <= 4 and 1 <= c[1] & 15 <= 4 and c[2] <= 3 for c in components
    )
