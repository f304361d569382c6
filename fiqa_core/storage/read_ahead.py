"""Read one large remote file from front to back faster than one connection can: several ranges are fetched at once."""

import io
from concurrent.futures import Future, ThreadPoolExecutor
from typing import IO

from fiqa_core.storage.places import is_local
from fiqa_core.storage.reading import entry_of, fetch, open_read
from fiqa_core.storage.store import Entry, Store

_BLOCK_BYTES = 2 << 20
_BLOCKS = 8  # that are fetched, or held, at once
_BUFFER_BYTES = 256 << 10


class AheadFile(io.RawIOBase):
    """A remote file as a seekable stream; it holds at most `_BLOCKS` blocks, from the one that is read on."""

    def __init__(self, store: Store, entry: Entry, uri: str) -> None:
        self._store, self._entry, self._uri = store, entry, uri
        self._at = 0
        self._blocks: dict[int, Future[bytes]] = {}
        self._pool = ThreadPoolExecutor(_BLOCKS, "read-ahead")

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """The byte that is read next."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Nothing is fetched before the next read."""
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._entry.size}[whence]
        self._at = max(0, origin + offset)
        return self._at

    def readinto(self, buffer) -> int:  # type: ignore[no-untyped-def]
        """The bytes up to the end of a block; 0 only at the end of the file, as the store states it."""
        if self._at >= self._entry.size:
            return 0
        number, inside = divmod(self._at, _BLOCK_BYTES)
        part = memoryview(self._block(number))[inside : inside + len(buffer)]
        buffer[: len(part)] = part
        self._at += len(part)
        return len(part)

    def close(self) -> None:
        """Drop what was fetched ahead."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._blocks.clear()
        super().close()

    def _block(self, number: int) -> bytes:
        for other in [other for other in self._blocks if not number <= other < number + _BLOCKS]:
            self._blocks.pop(other).cancel()
        for following in range(number, min(number + _BLOCKS, -(-self._entry.size // _BLOCK_BYTES))):
            if following not in self._blocks:
                self._blocks[following] = self._pool.submit(self._fetch, following)
        try:
            return self._blocks[number].result()
        except BaseException:
            del self._blocks[number]  # a later read asks again
            raise

    def _fetch(self, number: int) -> bytes:
        start = number * _BLOCK_BYTES
        return fetch(self._store, self._entry, self._uri, start, min(start + _BLOCK_BYTES, self._entry.size))


def open_ahead(url: str, version: str = "") -> IO[bytes]:
    """As `open_read`, with the same errors, for a file that is read from front to back at once."""
    if is_local(url):
        return open_read(url, version)
    return io.BufferedReader(AheadFile(*entry_of(url, version), url), _BUFFER_BYTES)
