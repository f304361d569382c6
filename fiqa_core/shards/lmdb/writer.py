"""Write LMDB shards in ViT-FIQA's layout: one file, `__len__`, `__keys__` and `__labels__` beside the images."""

import contextlib
import pickle
import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from fiqa_core.extras import install_extra
from fiqa_core.shards.batch import ImageBatch
from fiqa_core.shards.lmdb.listing import BOOKKEEPING, KEYS, LABELS, LENGTH
from fiqa_core.shards.names import shortened
from fiqa_core.shards.output import OutputRefusedError, ShardOutput, ShardWriter

_MOST_KEY = 511  # bytes; LMDB's own limit
_MOST_CHARACTERS = 100  # of a key that is shortened: at most four bytes each
_FIRST_MAP = 1 << 28
_BESIDE = 8192  # bytes that an image may need besides its own: its page's rest, key, and branch pages
_PROTOCOL = 4  # what Python 3.4 and later read; fixed, so that the same images give the same file
_INT64 = range(-(1 << 63), 1 << 63)


class LmdbShards(ShardOutput):
    """LMDB shards; one is a file (`subdir=False`)."""

    suffix = ".lmdb_dataset"

    def require(self) -> None:
        """The `lmdb` package writes."""
        try:
            _package()
        except ModuleNotFoundError as error:
            raise OutputRefusedError(str(error)) from error

    def begin(self, stream: IO[bytes], dense: bool) -> ShardWriter:
        """Begin a file.

        Raises:
            OutputRefusedError: the `lmdb` package is missing; the message says how to get it.
        """
        return LmdbShardWriter(stream, dense)

    def refuse(self, labels: Mapping[str, int], unlabelled: int, dense: bool) -> None:  # noqa: ARG002
        """Any labels can be written, if the `lmdb` package is there."""
        _package()


class LmdbShardWriter:
    """One LMDB file. It is built beside the stream's file, and copied into it without gaps at the end.

    A key of the output is the image's own, unless another image has it, it is longer than LMDB allows (511 bytes), or
    LMDB needs it. Labels are whole numbers where their text is one, else text, or None.
    """

    def __init__(self, stream: IO[bytes], dense: bool) -> None:
        lmdb = _package()
        self._stream, self._dense = stream, dense
        self._keys: list[bytes] = []
        self._labels: list[int | str | None] = []
        self._taken: set[bytes] = set(BOOKKEEPING)
        self._bytes, self._map = 0, _FIRST_MAP
        self._path = _beside(stream)
        self._env: Any = lmdb.open(str(self._path), map_size=self._map, subdir=False, lock=False, sync=False)

    def add_batch(self, batch: ImageBatch) -> list[str]:
        """Write images; returns their keys."""
        self._make_room(int(batch.sizes.sum()) + _BESIDE * len(batch))
        keys = []
        with self._env.begin(write=True) as transaction:
            for image in batch.images():
                key = self._key(image.key, image.position)
                transaction.put(key, image.data)
                self._keys.append(key)
                self._labels.append(image.number if self._dense else _label(image.label))
                keys.append(key.decode())
        return keys

    def close(self) -> None:
        """Write the lists of keys and labels, and the file."""
        values = {LENGTH: len(self._keys), KEYS: self._keys, LABELS: self._labels}
        stored = {name: pickle.dumps(value, _PROTOCOL) for name, value in values.items()}
        self._make_room(sum(map(len, stored.values())) + _BESIDE * len(stored))
        with self._env.begin(write=True) as transaction:
            for name, value in stored.items():
                transaction.put(name, value)
        # What a reader has to map is told by the file.
        self._env.set_mapsize((self._env.info()["last_pgno"] + 1) * self._env.stat()["psize"])
        self._stream.flush()
        self._env.copyfd(self._stream.fileno(), compact=True)
        self._env.close()
        self._path.unlink()

    def abandon(self) -> None:
        """Remove what was built."""
        self._env.close()
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)

    def _make_room(self, more: int) -> None:
        self._bytes += more
        if 2 * self._bytes > self._map:
            self._map = 4 * self._bytes
            self._env.set_mapsize(self._map)

    def _key(self, name: str, position: int) -> bytes:
        key = name.encode()
        if len(key) > _MOST_KEY:
            key = shortened(name, _MOST_CHARACTERS).encode()
        if not key or key in self._taken:
            key = f"{shortened(name, _MOST_CHARACTERS)}~{position}".encode()
        self._taken.add(key)
        return key


def _label(text: str | None) -> int | str | None:
    if text is None or len(text) > 20 or not text.lstrip("-").isdecimal() or str(int(text)) != text:
        return text
    return int(text) if int(text) in _INT64 else text


def _beside(stream: IO[bytes]) -> Path:
    """A name beside the stream's own file: that place has room, and what a killed process leaves there is swept."""
    name = getattr(stream, "name", None)
    folder = Path(name).parent if isinstance(name, str) else Path(tempfile.gettempdir())
    return folder / f"fiqa-{uuid.uuid4().hex}"


def _package() -> Any:
    try:
        import lmdb
    except ModuleNotFoundError as error:
        raise OutputRefusedError(
            f"writing LMDB needs the lmdb package, which is not installed: {install_extra('lmdb')}"
        ) from error
    return lmdb
