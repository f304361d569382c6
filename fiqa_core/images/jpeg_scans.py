"""Whether the scans of a JPEG contain every coefficient of every component to its last bit.

Decoders accept a progressive file without one of its scans, with less detail or without colours.
"""

_COEFFICIENTS = 64
_PROGRESSIVE = {0xC2, 0xC6, 0xCA, 0xCE}


class ScanProgress:
    """The coefficients that the scans seen so far contain, and down to which bit."""

    def __init__(self) -> None:
        # For each component, the lowest bit that each coefficient has been given; None for nothing yet.
        self._bits: dict[int, list[int | None]] = {}

    def take(self, process: int, body: bytes) -> None:
        """Note the header of a scan (the body of its SOS segment) in a frame of a process (the second byte of SOF)."""
        count = body[0] if body else 0
        if len(body) != 4 + 2 * count:
            return  # libjpeg refuses it.
        first, last, low = (*body[-3:-1], body[-1] & 15) if process in _PROGRESSIVE else (0, _COEFFICIENTS - 1, 0)
        for component in body[1 : 1 + 2 * count : 2]:
            bits = self._bits.setdefault(component, [None] * _COEFFICIENTS)
            bits[first : last + 1] = [low] * max(0, min(last, _COEFFICIENTS - 1) + 1 - first)

    def is_complete(self, components: int) -> bool:
        """Whether nothing is missing of this many components."""
        return len(self._bits) >= components and all(bit == 0 for bits in self._bits.values() for bit in bits)
