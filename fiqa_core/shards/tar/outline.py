"""The members of a tar by their headers alone, and at which of them reading could begin.

A walk gives the members and gaps that `stream.members` gives, without their content. Where a header cannot be followed,
the real reader (`archive.py`) takes over from the member before, as how it goes on depends on content. So every place
that the walk names is one that a reader of the whole tar passes, in the same state.
"""

from collections.abc import Generator, Iterator, Mapping
from typing import IO

from fiqa_core.shards.tar.archive import Archive
from fiqa_core.shards.tar.border import START, Border
from fiqa_core.shards.tar.header import BLOCK, BrokenError, believable, padded
from fiqa_core.shards.tar.member import KINDS, REGULAR, Gap, Member
from fiqa_core.shards.tar.stream import follow

_CLEAN = 8  # members without a gap until headers alone are trusted again
_ZEROS = bytes(BLOCK)
_NOWHERE = -1


class Walk:
    """The members of a tar, without their content: instead of it there are as many zeros.

    Args:
        stream: the whole tar, not compressed. size: its bytes.
        max_bytes: as the tar will be read. On it depends how reading goes on behind damage.
    """

    def __init__(self, stream: IO[bytes], size: int, max_bytes: int) -> None:
        self._stream, self._size, self._limit = stream, size, max_bytes
        self._archive: Archive = Archive(stream, max_bytes)
        self._at = _NOWHERE
        self._begin = START
        self.breaks = 0

    @property
    def border(self) -> Border | None:
        """The begin of the member that was given last; None where no reader can begin: near damage, behind zeros."""
        return None if self._at == _NOWHERE else self._archive.border(self._at)

    @property
    def reached(self) -> int:
        """Bytes of the tar that lie behind."""
        return max(self._begin.offset, self._archive.offset)

    def pass_over(self, border: Border) -> None:
        """Begin at this place, which was found in another way."""
        self._begin = border

    def __iter__(self) -> Iterator[Member | Gap]:
        """As `stream.members`, and with the same errors."""
        border: Border | None = self._begin
        while border is not None:
            border = yield from self._by_headers(border)
            if border is not None:
                self.breaks += 1
                border = yield from self._by_reading(border)

    def _by_headers(self, border: Border) -> Generator[Member | Gap, None, Border | None]:
        """Members as far as headers lead; the result is where they do not, None at the end."""
        self._stream.seek(border.offset)
        self._archive = archive = _Headers(self._stream, self._size, self._limit, border)
        end = _NOWHERE
        try:
            for member in archive.members():
                self._at = _NOWHERE
                if not isinstance(member, Gap):
                    begin, following = archive.last
                    # Behind zeros the reader is one header ahead, so it could not stop here.
                    self._at, end = begin if begin == end else _NOWHERE, following
                yield member
        except (BrokenError, ValueError, OverflowError):
            return archive.border(archive.unpassed)
        return None

    def _by_reading(self, border: Border) -> Generator[Member | Gap, None, Border | None]:
        """Members and gaps up to some whole members behind damage; the result is the next member, None at the end."""
        self._at = _NOWHERE
        self._stream.seek(border.offset)
        self._archive = archive = Archive(self._stream, self._limit, border)
        clean = 0
        for member in follow(archive):
            clean = 0 if isinstance(member, Gap) else clean + 1
            if clean > _CLEAN:
                return archive.border(archive.last[0])
            yield member
        return None


class _Headers(Archive):
    """An archive of which only headers are read, and the content of sparse files."""

    def __init__(self, stream: IO[bytes], size: int, max_bytes: int, border: Border) -> None:
        super().__init__(stream, max_bytes, border)
        self._stream, self._size = stream, size
        self._at_once = -1

    def _member(self, name: str, kind: bytes, size: int, header: bytes, pax: Mapping[bytes, bytes]) -> Member:
        if not pax and kind != b"S" and KINDS.get(kind) is REGULAR and name[-1:] != "/":
            self._over(size)
            return Member(name, REGULAR, size, bytes(size) if size <= self._limit else None, None, "")
        return super()._member(name, kind, size, header, pax)

    def _whole(self, size: int) -> bytes:
        self._over(size)
        return bytes(size)

    def _hashed(self, size: int) -> bytes:
        self._over(size)
        return b""

    def _skip(self, size: int, see: object = None) -> None:  # noqa: ARG002
        self._over(size)

    def _over(self, size: int) -> None:
        """Pass over content and its padding. (At the end of a tar padding may be missing.)"""
        if size > self._size - self.offset:
            raise BrokenError("the archive ends inside a member", self.offset, truncated=True)
        self.offset = min(self.offset + padded(size), self._size)
        self._stream.seek(self.offset)

    def _linked(self, size: int) -> int:
        following = self._stream.read(BLOCK)
        self._stream.seek(-len(following), 1)
        return 0 if following == _ZEROS or believable(following) or not following else size
