"""Write WebDataset tars: the image, its `.cls`, and the sample's other files, byte for byte the same on every run."""

import zlib
from typing import IO

from fiqa_core.shards.output import OutputImage, ShardWriter
from fiqa_core.shards.output_names import image_suffix, sample_key
from fiqa_core.shards.tar import BLOCK

_RECORD = 20 * BLOCK  # tar archives are a multiple of this
_NAME, _PREFIX = 100, 155
_MODE = b"0000444\0" + b"0000000\0" * 2
# Time 0, no owner: the same images give the same archive whoever writes it, and when.
_TIME = b"00000000000\0"
_TAIL = b"ustar\x0000" + bytes(64) + b"0000000\0" * 2


class WebDatasetShards:
    """Tar shards; ustar where the name fits, else with a pax header in front of the member."""

    name = "webdataset"
    suffix = ".tar"

    def begin(self, stream: IO[bytes], dense: bool) -> ShardWriter:
        """Begin a tar."""
        return TarWriter(stream, dense)


class TarWriter:
    """One tar of samples; no two samples of it have the same key."""

    def __init__(self, stream: IO[bytes], dense: bool) -> None:
        self._stream = stream
        self._dense = dense
        self._size = 0
        self._taken: set[str] = set()

    def add(self, image: OutputImage) -> str:
        """Write a sample: image, `.cls`, other files by name."""
        key = sample_key(image.key)
        if key in self._taken:
            key = f"{key}~{image.position}"
        self._taken.add(key)
        picture = image_suffix(image.data, image.key)
        self._member(f"{key}.{picture}", image.data)
        label = _label_bytes(image, self._dense)
        if label is not None:
            self._member(f"{key}.cls", label)
        for suffix, data in sorted(image.others.items()):
            if suffix not in (picture, "cls"):
                self._member(f"{key}.{suffix}", data)
        return key

    def close(self) -> None:
        """The end mark, and zeros up to a whole record."""
        self._stream.write(bytes(2 * BLOCK + -(self._size + 2 * BLOCK) % _RECORD))

    def _member(self, name: str, data: bytes) -> None:
        encoded = name.encode()
        split = _split(encoded)
        if split is None:
            record = _pax_record(b"path", encoded)
            self._block(_header(b"pax_header", b"", len(record), b"x"), record)
            split = encoded[:_NAME], b""
        self._block(_header(*split, len(data), b"0"), data)

    def _block(self, header: bytes, data: bytes) -> None:
        padding = -len(data) % BLOCK
        self._stream.write(header)
        self._stream.write(data)
        self._stream.write(bytes(padding))
        self._size += BLOCK + len(data) + padding


def _label_bytes(image: OutputImage, dense: bool) -> bytes | None:
    if image.label is None:
        return None if dense else image.others.get("cls")
    if not dense:
        stored = image.others.get("cls")
        if stored is not None and stored.decode("utf-8", "backslashreplace").strip() == image.label:
            return stored
    return str(image.label_text).encode()


def _header(name: bytes, prefix: bytes, size: int, kind: bytes) -> bytes:
    begin = name.ljust(_NAME, b"\0") + _MODE + b"%011o\0" % size + _TIME
    end = kind + bytes(100) + _TAIL + prefix.ljust(_PREFIX, b"\0") + bytes(12)
    # Adler-32's low half is 1 + the sum of the bytes mod 65521, which no header's sum but a huge name's passes.
    total = (zlib.adler32(end, zlib.adler32(begin)) & 0xFFFF) - 1 + 8 * 32
    return begin + b"%06o\0 " % total + end


def _split(name: bytes) -> tuple[bytes, bytes] | None:
    """Name and prefix of a ustar header; None where the name does not fit."""
    if len(name) <= _NAME:
        return name, b""
    cut = name.find(b"/", len(name) - _NAME - 1)
    return (name[cut + 1 :], name[:cut]) if 0 < cut <= _PREFIX else None


def _pax_record(key: bytes, value: bytes) -> bytes:
    rest = len(key) + len(value) + 3
    length = rest
    while length != rest + len(str(length)):
        length = rest + len(str(length))
    return b"%d %s=%s\n" % (length, key, value)
