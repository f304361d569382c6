"""Whether the LZW codes of a GIF give as many pixels as its picture has.

A GIF has no checksum, and Pillow ignores codes that exceed its picture: damaged codes mostly give more pixels, or
end before their blocks do. OpenCV refuses those too.
"""

# Codes are counted in Python, 4 MB a second; a face takes some kilobytes.
MAX_BYTES_COUNTED = 1 << 20
_MOST_CODES = 4096
# Encoders may leave the byte in which the last code ends empty.
_MOST_LEFT_OVER = 1


def sign_of_damage(coded: bytes, bits: int, pixels: int) -> str:
    """What is wrong with the codes `coded` (content of the blocks; `bits` bits at first) for that many pixels; "" if
    nothing. Codes that give too few pixels are refused by the decoder.
    """
    clear = 1 << bits
    fresh = [1] * clear + [0, 0]
    lengths, width, before = fresh[:], bits + 1, -1
    made = waiting = held = 0
    for position, byte in enumerate(coded):
        waiting |= byte << held
        held += 8
        while held >= width:
            code = waiting & ((1 << width) - 1)
            waiting >>= width
            held -= width
            if code == clear:
                lengths, width, before = fresh[:], bits + 1, -1
                continue
            if code == clear + 1:
                left = len(coded) - position - 1
                return f"{left} bytes follow the code that ends it" if left > _MOST_LEFT_OVER else ""
            if before >= 0 and len(lengths) < _MOST_CODES:
                lengths.append(lengths[before] + 1)
                if len(lengths) == 1 << width and width < 12:
                    width += 1
            if code >= len(lengths):
                return ""
            made += lengths[code]
            if made > pixels:
                return f"its codes make more than its {pixels} pixels"
            before = code
    return ""
