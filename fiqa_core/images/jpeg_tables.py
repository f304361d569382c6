"""Whether a table segment of a JPEG is surely as its encoder wrote it.

A byte inserted into a table pushes the table's last byte out of its segment, where it looks like a byte that belongs
to nothing. So bytes behind a table are harmless only if the table itself is known to be whole.
"""

from functools import cache

import numpy as np
import simplejpeg

_DQT, _DHT, _OTHER_TABLES = 0xDB, 0xC4, {0xC4, 0xC8, 0xCC}


def surely_intact(marker: int, body: bytes) -> bool:
    """True for tables and frame headers that cannot have been shifted, and for segments that hold none."""
    if marker == _DQT:
        return len(body) % 65 == 0 and all(
            body[at] <= 3 and body[at + 1 : at + 65] in _usual_quantisations() for at in range(0, len(body), 65)
        )
    if marker == _DHT:
        return _is_of_whole_codes(body)
    if 0xC0 <= marker <= 0xCF and marker not in _OTHER_TABLES:
        return _is_plausible_frame(body)
    return True


@cache
def _usual_quantisations() -> frozenset[bytes]:
    """The tables (64 bytes) that libjpeg writes at each quality; other encoders mostly write the same."""
    tables, pixels = set(), np.zeros((8, 8, 3), np.uint8)
    for quality in range(1, 101):
        data = simplejpeg.encode_jpeg(pixels, quality)
        # Both tables are of 67 bytes with their length, and lie one behind the other.
        first = data.index(b"\xff\xdb\0\x43") + 5
        tables |= {data[first : first + 64], data[first + 69 : first + 133]}
    return frozenset(tables)


def _is_of_whole_codes(body: bytes) -> bool:
    """Whether all symbols exist (differences of up to 11 bits, coefficients of up to 10), none comes twice, and the
    lengths add up; nearly every shifted table breaks one of these."""
    position = 0
    while position < len(body):
        symbols = body[position + 17 : position + 17 + sum(body[position + 1 : position + 17])]
        most = 10 if body[position] & 0x10 else 11
        if any((symbol & 15 if most == 10 else symbol) > most for symbol in symbols):
            return False
        if len(set(symbols)) < len(symbols) or position + 17 + len(symbols) > len(body) or body[position] & 0xEC:
            return False
        position += 17 + sum(body[position + 1 : position + 17])
    return position == len(body)


def _is_plausible_frame(body: bytes) -> bool:
    components = [body[at : at + 3] for at in range(6, len(body), 3)]
    return (
        len(body) == 6 + 3 * body[5]
        and len({component[0] for component in components}) == len(components)
        and all(1 <= c[1] >> 4 <= 4 and 1 <= c[1] & 15 <= 4 and c[2] <= 3 for c in components)
    )
