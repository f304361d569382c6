"""The blocks of a GIF: a copy that holds only the first picture.

Comments and other extensions may have any size (Pillow takes 40 s to join a comment of 10 MB), and there may be any
number of frames.
"""

from fiqa_core.images.admission import ImageRejected
from fiqa_core.images.gif_codes import MAX_BYTES_COUNTED, sign_of_damage
from schemas.reasons import Status

_EXTENSION, _PICTURE, _END, _GRAPHIC_CONTROL = 0x21, 0x2C, 0x3B, 0xF9
# A GIF of the most stored bytes that are admitted has a quarter of a million blocks of the usual 255 bytes.
_MAX_BLOCKS = 2_000_000


def first_picture(data: bytes) -> bytes:
    """A GIF with the screen, the colours and the first picture of `data`, and the control block of that picture.

    Raises:
        ImageRejected: TRUNCATED, CORRUPT or UNSUPPORTED, without a size.
    """
    screen = _end_of_colours(data, 10, 13)
    position, control = screen, b""
    blocks = _MAX_BLOCKS
    while position < len(data):
        kind = data[position]
        if kind == _PICTURE:
            colours = _end_of_colours(data, position + 9, position + 10)
            end, _ = _end_of_blocks(data, colours + 1, blocks)
            # After data that were cut off, the end mark would be read as one of their bytes.
            whole = end <= len(data) and data[end - 1] == 0
            if whole and end - colours <= MAX_BYTES_COUNTED:
                _check_codes(data, position, colours)
            return b"".join([data[:screen], control, data[position:end], bytes([_END]) if whole else b""])
        if kind == _END:
            raise ImageRejected(Status.CORRUPT, "GIF: it ends without a picture")
        if kind != _EXTENSION:
            if position == screen:
                # A byte inserted into the colours pushes the last one out; OpenCV refuses such a file too.
                raise ImageRejected(
                    Status.CORRUPT, f"GIF: its colours are followed by {kind:#x}, which begins no block"
                )
            position += 1
            blocks = _counted(blocks - 1)
            continue
        end, blocks = _end_of_blocks(data, position + 2, blocks)
        if data[position + 1 : position + 3] == bytes([_GRAPHIC_CONTROL, 4]):
            control = data[position : position + 7] + b"\0"
        position = end
    raise ImageRejected(Status.TRUNCATED, "GIF: the file ends before its first picture")


def _check_codes(data: bytes, picture: int, start: int) -> None:
    """Refuse the picture at `picture` if its codes, which begin at `start`, show damage."""
    width, height = (int.from_bytes(data[at : at + 2], "little") for at in (picture + 5, picture + 7))
    if not 1 <= data[start] <= 11:
        return  # The decoder reports this.
    sign = sign_of_damage(_joined_blocks(data, start + 1), data[start], width * height)
    if sign:
        raise ImageRejected(Status.CORRUPT, f"GIF: {sign}")


def _joined_blocks(data: bytes, position: int) -> bytes:
    blocks = []
    while data[position]:
        blocks.append(data[position + 1 : position + 1 + data[position]])
        position += 1 + data[position]
    return b"".join(blocks)


def _end_of_colours(data: bytes, flags: int, start: int) -> int:
    """Where a colour table ends that starts at `start`, if the byte at `flags` says that there is one."""
    if len(data) <= flags:
        raise ImageRejected(Status.TRUNCATED, "GIF: the file ends before its first picture")
    return start + (3 * (2 << (data[flags] & 7)) if data[flags] & 0x80 else 0)


def _end_of_blocks(data: bytes, position: int, most: int) -> tuple[int, int]:
    """(position after the empty block that ends a run of blocks, or after the data; number of blocks still
    admitted)."""
    end = len(data)
    while position < end:
        length = data[position]
        position += 1 + length
        most -= 1
        if not length or most < 0:
            break
    return position, _counted(most)


def _counted(most: int) -> int:
    if most < 0:
        raise ImageRejected(Status.UNSUPPORTED, f"GIF: files of more than {_MAX_BLOCKS} blocks are not read here")
    return most
