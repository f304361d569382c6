"""One member of a zip archive, as the directory at the archive's end (or the member's own header) describes it."""

import struct
import zlib
from typing import NamedTuple

from fiqa_core.shards.names import MAX_NAME_CHARACTERS

DIRECTORY_ENTRY = struct.Struct("<4s6H3I5H2I")
LOCAL_HEADER = struct.Struct("<4s5H3I2H")
ENTRY_MAGIC, LOCAL_MAGIC = b"PK\1\2", b"PK\3\4"

_UTF8_FLAG = 1 << 11
_ENCRYPTED_FLAGS = 1 | 1 << 6 | 1 << 13
_AES = 99
_ZIP64, _UNICODE_PATH = 1, 0x7075
_IN_ZIP64 = 0xFFFFFFFF
_WRITTEN_ON_DOS = (0, 10, 11, 14)  # systems that write folders with backslashes
_FILE_TYPE, _LINK = 0o170000, 0o120000
_WRITTEN_ON_UNIX = (3, 19)


class Entry(NamedTuple):
    """A member.

    Attributes:
        name: text, with slashes between folders. raw: the name's bytes.
        flags, method, crc: as stored. stored, size: bytes in the archive, and decompressed.
        at: byte of the member's header, counted from where the archive begins.
        link: it is a symbolic link.
    """

    name: str
    raw: bytes
    flags: int
    method: int
    crc: int
    stored: int
    size: int
    at: int
    link: bool

    @property
    def encrypted(self) -> bool:
        """Whether a password is needed."""
        return bool(self.flags & _ENCRYPTED_FLAGS) or self.method == _AES


def directory_entry(fixed: bytes, raw: bytes, extra: bytes) -> Entry:
    """The member that an entry of the directory describes: its 46 fixed bytes, its name and its extra fields."""
    (_, made, _, flags, method, _, _, crc, stored, size, _, _, _, _, _, attributes, at) = DIRECTORY_ENTRY.unpack(fixed)
    if _IN_ZIP64 in (stored, size, at):
        # The field holds those of the three, in this order, that do not fit 32 bits.
        values = iter(_zip64(extra))
        size = next(values, size) if size == _IN_ZIP64 else size
        stored = next(values, stored) if stored == _IN_ZIP64 else stored
        at = next(values, at) if at == _IN_ZIP64 else at
    system = made >> 8
    link = system in _WRITTEN_ON_UNIX and (attributes >> 16) & _FILE_TYPE == _LINK
    return Entry(_name(raw, flags, extra, system), raw, flags, method, crc, stored, size, at, link)


def local_entry(fixed: bytes, raw: bytes, extra: bytes, at: int) -> Entry:
    """The member that its own header describes: its 30 fixed bytes, its name and its extra fields."""
    (_, _, flags, method, _, _, crc, stored, size, _, _) = LOCAL_HEADER.unpack(fixed)
    if _IN_ZIP64 in (stored, size):
        values = iter(_zip64(extra))
        size = next(values, size) if size == _IN_ZIP64 else size
        stored = next(values, stored) if stored == _IN_ZIP64 else stored
    return Entry(_name(raw, flags, extra, 0), raw, flags, method, crc, stored, size, at, False)


def _zip64(extra: bytes) -> list[int]:
    field = _field(extra, _ZIP64)
    return [value for (value,) in struct.iter_unpack("<Q", field[: len(field) // 8 * 8])]


def _field(extra: bytes, wanted: int) -> bytes:
    at = 0
    while at + 4 <= len(extra):
        kind, size = struct.unpack_from("<HH", extra, at)
        if kind == wanted:
            return extra[at + 4 : at + 4 + size]
        at += 4 + size
    return b""


def _name(raw: bytes, flags: int, extra: bytes, system: int) -> str:
    """The name as text. Without the flag for UTF-8, most tools of today write UTF-8 all the same, older ones code page
    437; a text that is valid UTF-8 by chance is rare."""
    if raw.isascii():
        text = raw.decode("ascii")
    elif flags & _UTF8_FLAG:
        text = raw.decode("utf-8", "surrogateescape")
    else:
        field = _field(extra, _UNICODE_PATH)
        if len(field) > 5 and int.from_bytes(field[1:5], "little") == zlib.crc32(raw):
            raw = field[5:]
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError:
            text = raw.decode("cp437")
    if "\\" in text and "/" not in text and system in _WRITTEN_ON_DOS:
        text = text.replace("\\", "/")
    return text if len(text) <= 2 * MAX_NAME_CHARACTERS else text[: 2 * MAX_NAME_CHARACTERS]
