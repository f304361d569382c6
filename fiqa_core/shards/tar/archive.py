"""The state of reading one tar: the position, the last member, and how reading goes on behind damage."""

import hashlib
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import IO, NoReturn

from fiqa_core.shards.names import printable, shortened
from fiqa_core.shards.tar.border import NO_STOP, START, Border
from fiqa_core.shards.tar.header import (
    BLOCK,
    MAGIC,
    MAGIC_AT,
    NO_PAX,
    BrokenError,
    believable,
    checksum_fits,
    decimal,
    name_of,
    padded,
    pax_records,
    size_of,
)
from fiqa_core.shards.tar.member import (
    BAD_SPARSE,
    EXTRA,
    FOLDER,
    KINDS,
    NO_MEMBERS,
    OTHER,
    REGULAR,
    WITHOUT_CONTENT,
    Gap,
    Member,
    TarDamagedError,
)
from fiqa_core.shards.tar.resync import Resync, Source
from fiqa_core.shards.tar.sparse import NO_MAP, Sparse, SparseMapError, expanded, pax_sparse, read_old_map
from fiqa_core.wording import counted

_CHUNK = 1 << 20
_MAX_META_BYTES = 1 << 20  # a long name or pax header; a larger one is hostile
_MAX_SPARSE_MAP = 8 << 20
_ZEROS = bytes(BLOCK)
_RECORD = 20 * BLOCK  # writers fill an archive with zeros up to a multiple of this
_MOST_ZEROS = 1 << 20  # behind the end mark; a longer tail comes from a broken download

_TEXTS = (".cls", ".json", ".txt")


class Archive:
    """The position, and the last member: it is held back until the bytes behind it show that it is whole.

    Args:
        stream: stands at `border`, where reading begins.
        stop: a border at which it ends.
    """

    def __init__(self, stream: IO[bytes], max_bytes: int, border: Border = START, stop: int = NO_STOP) -> None:
        self._source = Source(stream)
        self._read: Callable[[int], bytes] = stream.read  # until something is put back
        self._limit = self._at_once = max_bytes  # what is larger than `_at_once` is left to `_member`
        self._stop = stop
        self.offset = border.offset  # of the next byte to read
        self._begin = border.offset  # of the current member: its first header
        self._held: Member | None = None
        self._content = b""  # of the held member, with its padding
        self._held_begin = 0
        self._part = b""  # the content read before it broke off
        self._name = ""  # of the current member
        self._first = border.first
        self._old = border.old
        self._header_broken = False  # `_part` is what stands where a header should
        self._nameless = False  # the name of the next member is in a lost block
        self._global = dict(border.attributes)

    @property
    def last(self) -> tuple[int, int]:
        """Begin and end of the member that `members` yielded last, with its headers and padding."""
        return self._held_begin, self._begin

    @property
    def unpassed(self) -> int:
        """After a break: the begin of the first member that was not yielded."""
        return self._begin if self._held is None else self._held_begin

    def border(self, offset: int) -> Border:
        """A place that was just passed, as a border."""
        return Border(offset, self._old, self._first, dict(self._global))

    def members(self) -> Iterator[Member | Gap]:
        """Members from `offset` on. Raises BrokenError at a place where reading cannot go on."""
        # Local variables are faster than attributes: this loop runs six times for each face of a shard.
        read, limit, offset, stop = self._read, self._at_once, self.offset, self._stop
        held: Member | None = None
        long_name: bytes | None = None
        pax: Mapping[bytes, bytes] = NO_PAX
        pax_header, pax_size, pax_stored = b"", 0, 0
        self._begin = offset
        try:
            while offset < stop:
                header = read(BLOCK)
                # Writers repeat the header of a pax block byte for byte: it need not be checked again.
                if header != pax_header or not header:
                    if header == _ZEROS:
                        if held is not None:
                            yield held
                            held = None
                        self._begin, self._name, self.offset = offset, "", offset
                        header = yield from self._behind_zeros()
                        offset = self.offset
                        if not header:
                            return
                    if len(header) < BLOCK or not checksum_fits(header):
                        raise self._no_header(header, offset)
                    if self._old:
                        self._old = header[MAGIC_AT : MAGIC_AT + 5] != MAGIC
                if held is not None:
                    yield held
                    held = None
                offset += BLOCK
                kind = header[156:157]
                if kind in EXTRA:
                    self._name = ""
                    if header == pax_header:
                        size, stored = pax_size, pax_stored
                    else:
                        size = size_of(header, offset - BLOCK)
                        if size > _MAX_META_BYTES:
                            raise BrokenError(f"a name or attribute block of {size} bytes at byte {offset}", offset)
                        stored = padded(size)
                    meta = read(stored)
                    offset += len(meta)
                    if len(meta) < size:
                        self._cut_short(meta, size, offset)
                    if kind == b"L":
                        long_name = meta[:size].rstrip(b"\0")
                    elif kind == b"g":
                        self._global.update(self._attributes(meta[:size], offset))
                    elif kind != b"K":
                        pax_header, pax_size, pax_stored = header, size, stored
                        # Most hold a time and nothing else.
                        if b"path=" in meta or b"size=" in meta or b"GNU.sparse." in meta:
                            pax = self._attributes(meta[:size], offset)
                    continue
                if self._global:
                    pax = {**self._global, **pax}
                if pax and pax.get(b"size", b"").isdigit():
                    size = decimal(pax[b"size"], offset)
                else:
                    size = size_of(header, offset - BLOCK)
                if kind in NO_MEMBERS:
                    self.offset = offset
                    self._skip(size)
                    offset = self.offset
                    continue
                name = pax.get(b"GNU.sparse.name") or pax.get(b"path") or long_name or name_of(header)
                self._name = text = name.decode("utf-8", "surrogateescape")
                if kind == b"0" and size <= limit and not pax and text[-1:] != "/":
                    data = read(-(-size // BLOCK) * BLOCK)
                    offset += len(data)
                    if len(data) < size:
                        self._cut_short(data, size, offset)
                    self._content = data
                    held = Member(text, REGULAR, size, data[:size], None, "", self._begin, offset)
                else:
                    self.offset = offset
                    held = self._member(text, kind, size, header, pax)
                    read, offset = self._read, self.offset
                    held = held._replace(begin=self._begin, end=offset)
                self._held_begin, self._begin = self._begin, offset
                long_name, pax = None, NO_PAX
            if held is not None:
                yield held
                held = None
        finally:
            # `recovered` starts from here; `self.offset` is ahead if a call above broke off.
            self.offset, self._held = max(offset, self.offset), held

    def _member(self, name: str, kind: bytes, size: int, header: bytes, pax: Mapping[bytes, bytes]) -> Member:
        """The member that a header begins, with its content."""
        what = KINDS.get(kind, OTHER)
        if what is REGULAR and name[-1:] != "/":
            sparse = self._sparse(header, pax) if pax or kind == b"S" else None
            if sparse is not None:
                return self._sparse_member(name, size, sparse)
            if size <= self._limit:
                return Member(name, REGULAR, size, self._whole(size), None, "")
            return Member(name, REGULAR, size, None, self._hashed(size), "")
        if kind == b"1" and size:
            size = self._linked(size)
        self._skip(0 if kind in WITHOUT_CONTENT else size)
        link = pax.get(b"linkpath") or header[157:257].rstrip(b"\0")
        kept = link.decode("utf-8", "surrogateescape")
        return Member(name, FOLDER if what is REGULAR else what, size, None, None, kept)

    def recovered(self, broken: BrokenError) -> Iterator[Member | Gap]:
        """The member before a break, if it is whole, and the gap; reading goes on at the next header.

        Raises:
            TarDamagedError: no believable header follows.
        """
        search, begin, lost = self._search()
        at = search.inside()
        if at is None:
            held, self._held = self._held, None
            if held is not None and not _shows_damage(held, self._content):
                yield held
                begin, lost = self._begin, ""
            at = search.behind(self._nameless)
        self._held, self._nameless = None, False
        reason = "; ".join([str(broken), *search.reasons])
        if lost:
            reason += f"; {_shown(lost)} is in it"
        if at is None:
            raise TarDamagedError(reason, broken.truncated or self._source.truncated) from broken
        yield Gap(begin, at, reason)
        search.finish(at)
        self.offset, self._read, self._first = at, self._source.read, None
        self._part, self._content, self._header_broken = b"", b"", False

    def _search(self) -> tuple[Resync, int, str]:
        """The search for the next header, the first lost byte, and the name of the member there."""
        source = self._source
        if self._held is None:
            # The content broke off, or a header cannot be followed.
            base = self.offset - len(self._part)
            break_at = base if self._header_broken else self.offset
            return Resync(source, self._part, base, break_at, self._old), self._begin, self._name
        head, base = self._content + self._part, self.offset - len(self._part) - len(self._content)
        break_at = self.offset - len(self._part)
        return Resync(source, head, base, break_at, self._old), self._held_begin, self._held.name

    def _no_header(self, header: bytes, at: int) -> BrokenError:
        self.offset, self._part, self._header_broken = at + len(header), header, True
        if len(header) == BLOCK:
            return BrokenError(f"bytes {at} to {at + BLOCK} are not a tar header", at)
        return self._ended(f"the archive ends inside the header at byte {at}" if header or not at else "")

    def _ended(self, message: str) -> BrokenError:
        reason = self._source.go_on()
        if reason is not None:
            return BrokenError(reason, self.offset, self._source.truncated)
        message = message or f"no end-of-archive mark: the archive ends at byte {self.offset}"
        return BrokenError(message, self.offset, truncated=True)

    def _behind_zeros(self) -> Generator[Gap, None, bytes]:
        """The header behind a run of zeros (the generator's result), b"" at the end; a gap if they are not an end mark.

        The mark does not always end the file: archives joined with `cat` go on behind it.
        """
        begin = self.offset
        header, count = _ZEROS, 0
        while header == _ZEROS:
            count += 1
            self.offset += BLOCK
            header = self._read(BLOCK)
        if not header.strip(b"\0"):
            self._end_of_zeros(begin)
            return b""
        if count > 2 and self._first is not None and (self.offset - self._first) % _RECORD and believable(header):
            yield Gap(begin, self.offset, f"{count * BLOCK} zero bytes stand between two members")
        if count > 1:
            self._first = self.offset
        if believable(header):
            self._begin = self.offset
        return header

    def _end_of_zeros(self, begin: int) -> None:
        damage = self._source.go_on()
        if damage is not None:
            raise BrokenError(damage, self.offset, self._source.truncated)
        if self.offset - begin > _MOST_ZEROS:
            message = f"the last {self.offset - begin} bytes are zeros, which no end mark needs: a download broke off?"
            raise BrokenError(message, begin, truncated=True)

    def _whole(self, size: int) -> bytes:
        """The content of a regular file."""
        return self._kept(size)

    def _kept(self, size: int) -> bytes:
        """Read content that is kept."""
        data = self._read(padded(size))
        self.offset += len(data)
        if len(data) < size:
            self._cut_short(data, size, self.offset)
        self._content = data
        return data[:size]

    def _cut_short(self, data: bytes, size: int, offset: int) -> NoReturn:
        self._part, self.offset = data, offset
        raise self._ended(f"the archive ends inside {_shown(self._name)}: {len(data)} of {counted(size, 'byte')}")

    def _attributes(self, meta: bytes, offset: int) -> Mapping[bytes, bytes]:
        try:
            return pax_records(meta, offset)
        except BrokenError:
            self._nameless = True
            raise

    def _hashed(self, size: int) -> bytes:
        digest = hashlib.sha256()
        self._skip(size, digest.update)
        return digest.digest()

    def _skip(self, size: int, see: Callable[[bytes], None] | None = None) -> None:
        self._content = b""
        left = size
        while left:
            chunk = self._read(min(left, _CHUNK))
            if not chunk:
                raise self._ended(f"the archive ends inside {_shown(self._name)}, {counted(left, 'byte')} early")
            if see is not None:
                see(chunk)
            left -= len(chunk)
            self.offset += len(chunk)
        self.offset += len(self._read(padded(size) - size))

    def _linked(self, size: int) -> int:
        """Bytes of content behind a hard link that states a size: some writers store them, most do not."""
        following = self._read(BLOCK)
        self._source.put_back(following)
        self._read = self._source.read
        return 0 if following == _ZEROS or believable(following) or not following else size

    def _sparse(self, header: bytes, pax: Mapping[bytes, bytes]) -> Sparse | None:
        if header[156:157] == b"S":
            return read_old_map(header, lambda: self._kept(BLOCK))
        try:
            return pax_sparse(pax)
        except SparseMapError:
            return NO_MAP

    def _sparse_member(self, name: str, stored: int, sparse: Sparse) -> Member:
        if sparse.size > self._limit or stored > self._limit + _MAX_SPARSE_MAP:
            self._skip(stored)
            return Member(name, REGULAR, max(sparse.size, stored), None, None, "")
        data = self._kept(stored)
        try:
            whole = expanded(sparse, data)
        except SparseMapError as error:
            return Member(name, f"{BAD_SPARSE} ({error})", sparse.size, None, None, "")
        self._content = b""  # its length is not the member's
        return Member(name, REGULAR, sparse.size, whole, None, "")


def _shows_damage(member: Member, content: bytes) -> bool:
    """Whether a member's content (with its padding) is shifted: the padding is not zero, or a text ends in zeros."""
    if member.data is None or not content:
        return False
    padding = content[member.size :] if member.size <= len(content) else b""
    return bool(padding.strip(b"\0")) or (member.name.lower().endswith(_TEXTS) and member.data.endswith(b"\0"))


def _shown(name: str) -> str:
    return repr(printable(shortened(name, 200))) if name else "a name or attribute block"
