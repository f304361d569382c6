"""Write RecordIO as InsightFace's loader wants it: `.rec`, `.idx`, `property`, header and identity records."""

from types import TracebackType
from typing import IO

import numpy as np

from fiqa_core.shards.recordio_format import IMAGE_HEADER, LABEL
from fiqa_core.shards.recordio_pack import pack_record, set_keys

# Labels and key ranges are float32: above this, neighbouring whole numbers are one.
MAX_EXACT = 1 << 24
_TOO_MANY = (
    f"more than {MAX_EXACT} records: the key ranges of InsightFace's layout are float32, which cannot tell larger keys "
    "apart. Write several sets."
)


class InsightFaceWriter:
    """One training set: images in runs of one identity, then the records that say where each run lies.

    The header record comes first (key 0), images have the keys 1 .. n in the order in which they are added, and one
    identity record for each run follows, so the images of an identity must be added one after another, with
    labels 0, 1, 2 ... Streams are the caller's; `rec` must be seekable (the header record is filled in at the end).
    `height` and `width` go to `property`, and may be set until the end.
    Leaving the `with` block by an exception leaves a file without a header record, not to be published.

    Raises:
        ValueError: labels that do not follow on one another, or more records than float32 key ranges can tell apart.
    """

    def __init__(
        self, rec: IO[bytes], idx: IO[bytes], properties: IO[bytes], height: int = 112, width: int = 112
    ) -> None:
        self._rec, self._idx, self._properties = rec, idx, properties
        self.height, self.width = height, width
        self._key = 0
        self._starts: list[int] = []

    def __enter__(self) -> "InsightFaceWriter":
        self._put(_range_payload(0, 0, 0))
        return self

    def add(self, label: int, image: bytes) -> int:
        """Write an image's stored bytes as they are; its key."""
        known = len(self._starts)
        if label == known:
            self._starts.append(self._key)
        elif label != known - 1:
            raise ValueError(f"label {label} after {known - 1}: expected {max(known - 1, 0)} or {known}, in dense runs")
        key = self._key
        self._put(IMAGE_HEADER.pack(0, label, key, 0) + image)
        return key

    def add_packed(self, packed: np.ndarray, offsets: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Write records of `recordio_pack` as they are but for their keys; the keys.

        Args:
            packed: uint8, its keys are set here. offsets: int64 (images + 1), where each record begins.
            labels: whole numbers (images), as the records have them.
        """
        known, count = len(self._starts), len(labels)
        steps = np.diff(np.concatenate(([known - 1], labels)))
        if ((steps != 0) & (steps != 1)).any() or (count and not known and labels[0]):
            raise ValueError(f"labels {labels[:3].tolist()} ... after {known - 1}: expected dense runs")
        if self._key + count > MAX_EXACT:
            raise ValueError(_TOO_MANY)
        keys = np.arange(self._key, self._key + count)
        self._starts += keys[steps == 1].tolist()
        set_keys(packed, offsets[:-1], self._key)
        base = self._rec.tell()
        self._rec.write(packed.data)
        places = (offsets[:-1] + base).tolist()
        self._idx.write("".join([f"{key}\t{at}\n" for key, at in zip(keys.tolist(), places, strict=True)]).encode())
        self._key += count
        return keys

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._finish()

    def _finish(self) -> None:
        first = self._key
        for start, stop in zip(self._starts, [*self._starts[1:], first], strict=True):
            self._put(_range_payload(self._key, start, stop))
        end = self._rec.tell()
        self._rec.seek(0)
        self._rec.write(pack_record(_range_payload(0, first, self._key)))
        self._rec.seek(end)
        self._properties.write(f"{len(self._starts)},{self.height},{self.width}\n".encode())

    def _put(self, payload: bytes) -> None:
        if self._key >= MAX_EXACT:
            raise ValueError(_TOO_MANY)
        self._idx.write(f"{self._key}\t{self._rec.tell()}\n".encode())
        self._rec.write(pack_record(payload))
        self._key += 1


def _range_payload(key: int, start: int, stop: int) -> bytes:
    return IMAGE_HEADER.pack(2, 0, key, 0) + LABEL.pack(start) + LABEL.pack(stop)
