"""What reading a tar gives: its members, and gaps of lost bytes."""

from typing import NamedTuple

from fiqa_core.errors import FiqaError

REGULAR = "file"
FOLDER = "folder"
LINK = "link"
OTHER = "special file"
CONTINUED = "part of a file that began in another volume"
BAD_SPARSE = "sparse file whose map is damaged"

# What the type flag of a header stands for. D: a folder with the list of its files, of an incremental dump.
KINDS = {
    b"0": REGULAR, b"\0": REGULAR, b"7": REGULAR, b"S": REGULAR, b"5": FOLDER, b"D": FOLDER, b"1": LINK, b"2": LINK,
    b"M": CONTINUED,
}  # fmt: skip
EXTRA = b"LKxgX"  # describes the next member, or all that follow
NO_MEMBERS = b"VNAI"  # a volume's label, old lists of names, Solaris' attributes
WITHOUT_CONTENT = b"23456"


class TarDamagedError(FiqaError):
    """The rest of the archive cannot be read; `truncated` tells an early end from bad content."""

    def __init__(self, message: str, truncated: bool) -> None:
        super().__init__(message)
        self.truncated = truncated


class Member(NamedTuple):
    """One member. `data` is None unless it is a regular file within the size limit; `sha256` is set if a regular file
    (not a sparse one) was too large to keep; `size` is in bytes. Bytes of `name` and `link` that are not UTF-8 are
    surrogates (`surrogateescape`); both may be up to a megabyte long. `begin` and `end`: the bytes of the archive that
    hold it, from its first header to the end of its padding."""

    name: str
    kind: str
    size: int
    data: bytes | None
    sha256: bytes | None
    link: str
    begin: int = 0
    end: int = 0


class Gap(NamedTuple):
    """Bytes `begin` to `end` of the (decompressed) archive are lost, with an unknown number of members."""

    begin: int
    end: int
    reason: str
