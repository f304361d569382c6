"""Write WebDataset tars: image, `.cls` and the sample's other files. The same images give the same bytes."""

import itertools
import json
import operator
import zlib
from collections.abc import Sequence
from typing import IO

import numpy as np

from fiqa_core.shards.batch import ImageBatch
from fiqa_core.shards.label_text import is_plain_sidecar, json_label, sidecar_text
from fiqa_core.shards.output import ShardOutput, ShardWriter
from fiqa_core.shards.output_image import OutputImage
from fiqa_core.shards.output_names import image_suffix, sample_key
from fiqa_core.shards.tar.header import BLOCK
from fiqa_core.shards.webdataset.blocks import LABEL, StoredSamples

_RECORD = 20 * BLOCK  # tar archives are a multiple of this
_NAME, _PREFIX = 100, 155
_RECOGNISED = 32  # bytes of an image that tell its format
_MODE = b"0000444\0" + b"0000000\0" * 2
# Time 0, no owner: the archive does not depend on who writes it, or when.
_TIME = b"00000000000\0"
_TAIL = b"ustar\x0000" + bytes(64) + b"0000000\0" * 2


class WebDatasetShards(ShardOutput):
    """Tar shards; ustar where the name fits, else with a pax header in front of the member."""

    suffix = ".tar"
    keeps_others = True

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
        for suffix, data in _label_files(image, self._dense).items():
            self._member(f"{key}.{suffix}", data)
        for suffix, data in sorted(image.others.items()):
            if suffix not in (picture, "cls"):
                self._member(f"{key}.{suffix}", data)
        return key

    def add_batch(self, batch: ImageBatch) -> list[str]:
        """Write samples. A sample that its source tar stores as it would be written here is copied with its headers; if
        only the label differs, only the label is written anew."""
        samples = batch.samples
        if not isinstance(samples, StoredSamples):
            return [self.add(image) for image in batch.images()]
        keys: list[str] = batch.rows["key"].to_pylist()
        fit = self._fit(keys, batch, samples)
        labels = self._fresh_labels(batch, samples)
        fit &= np.fromiter((label is None or is_plain_sidecar(label) for label in labels), bool, len(keys))
        if fit.all() and not any(label is not None for label in labels):
            self._taken.update(keys)
            self._copy(samples)
            return keys
        members = list(zip(samples.begin.tolist(), samples.end.tolist(), samples.roles.tolist(), strict=True))
        bounds = samples.first.tolist()
        images = itertools.repeat(None) if fit.all() else batch.images()
        for place, (image, label) in enumerate(zip(images, labels, strict=False)):
            if image is not None and (not fit[place] or keys[place] in self._taken):
                keys[place] = self.add(image)
                continue
            self._taken.add(keys[place])
            for begin, end, role in members[bounds[place] : bounds[place + 1]]:
                if label is None or role != LABEL:
                    self._stream.write(samples.data[begin:end])
                    self._size += end - begin
            if label is not None:
                self._member(f"{keys[place]}.cls", label.encode())
        return keys

    def abandon(self) -> None:
        """Nothing to release."""

    def _fit(self, keys: list[str], batch: ImageBatch, samples: StoredSamples) -> np.ndarray:
        """Which samples already have the names that they would get here; a key that was used before does not fit."""
        fit = np.fromiter(map(operator.eq, keys, samples.keys), bool, len(keys))
        whole = np.frombuffer(batch.data, np.uint8)
        begins = np.minimum(batch.starts, len(whole) - 3)
        jpeg = (whole[begins] == 0xFF) & (whole[begins + 1] == 0xD8) & (whole[begins + 2] == 0xFF) & (batch.sizes > 2)
        suffixes = [samples.suffixes[place] for place in samples.image.tolist()]
        fit &= np.fromiter((suffix == "jpg" for suffix in suffixes), bool, len(keys)) | ~jpeg
        for place in np.flatnonzero(~jpeg).tolist():
            start, size = int(batch.starts[place]), int(batch.sizes[place])
            begin = bytes(batch.data[start : start + min(size, _RECOGNISED)])
            fit[place] &= suffixes[place] == image_suffix(begin, keys[place])
        if len(set(keys)) < len(keys) or not self._taken.isdisjoint(keys):
            seen: set[str] = set()
            for place, key in enumerate(keys):
                fit[place] &= key not in seen and key not in self._taken
                seen.add(key)
        if self._dense:
            # An image without a number must not keep its old label.
            fit &= ~batch.rows["number"].combine_chunks().is_null().to_numpy(zero_copy_only=False)
        return fit

    def _fresh_labels(self, batch: ImageBatch, samples: StoredSamples) -> Sequence[str | None]:
        """The label that each sample's `.cls` must have instead of its own (or of none); None: it stays as it is."""
        if self._dense:
            return [None if number is None else str(number) for number in batch.rows["number"].to_pylist()]
        labels: list[str | None] = batch.rows["label"].to_pylist()
        same = [label is None for label in labels]
        at = np.flatnonzero(samples.roles == LABEL)
        owners = (np.searchsorted(samples.first, at, "right") - 1).tolist()
        starts, sizes = (samples.begin[at] + BLOCK).tolist(), samples.sizes[at].tolist()
        for place, start, size in zip(owners, starts, sizes, strict=True):
            same[place] = same[place] or _says(bytes(samples.data[start : start + size]), labels[place])
        return [None if known else label for label, known in zip(labels, same, strict=True)]

    def _copy(self, samples: StoredSamples) -> None:
        seams = np.flatnonzero(samples.begin[1:] != samples.end[:-1]) + 1
        starts, stops = samples.begin[np.append(0, seams)], samples.end[np.append(seams - 1, -1)]
        for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
            self._stream.write(samples.data[start:stop])
        self._size += int((samples.end - samples.begin).sum())

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


def _label_files(image: OutputImage, dense: bool) -> dict[str, bytes]:
    """The file with the label, by its suffix: `.cls`, or `.json` if a `.cls` would be read as another label (spaces at
    its ends, empty text); no file if the sample's own `.json` has the label."""
    stored = image.others.get("cls")
    label = image.label_text
    if image.label is None or label is None:
        return {"cls": stored} if stored is not None and not dense else {}
    if not dense and stored is not None and _says(stored, label):
        return {"cls": stored}
    if is_plain_sidecar(label) or ("json" in image.others and not _says_in_json(image.others["json"], label)):
        return {"cls": label.encode()}
    return {} if "json" in image.others else {"json": json.dumps({"label": label}, ensure_ascii=False).encode()}


def _says(stored: bytes, label: str | None) -> bool:
    """Whether a `.cls` is read as this label."""
    try:
        return sidecar_text(stored).strip() == label
    except ValueError:
        return False


def _says_in_json(stored: bytes, label: str) -> bool:
    try:
        return json_label(sidecar_text(stored), "").label == label
    except ValueError:
        return False


def _header(name: bytes, prefix: bytes, size: int, kind: bytes) -> bytes:
    begin = name.ljust(_NAME, b"\0") + _MODE + b"%011o\0" % size + _TIME
    end = kind + bytes(100) + _TAIL + prefix.ljust(_PREFIX, b"\0") + bytes(12)
    # Adler-32's low half is 1 + the sum of the bytes mod 65521; a header's sum stays below that.
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
