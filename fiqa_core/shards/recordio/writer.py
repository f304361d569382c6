"""Write RecordIO as InsightFace's loader wants it: `.rec`, `.idx`, `property`, header and identity records, or the
images alone."""

from types import TracebackType
from typing import IO

import numpy as np

from fiqa_core.errors import FiqaError
from fiqa_core.shards.recordio.format import IMAGE_HEADER, LABEL
from fiqa_core.shards.recordio.pack import pack_record, set_keys

# Labels and key ranges are float32: above this, neighbouring whole numbers are one.
MAX_EXACT = 1 << 24
_MAX_KEYS = 1 << 32


class TooManyRecordsError(FiqaError, ValueError):
    """More labels or records than one RecordIO set can tell apart."""


class InsightFaceWriter:
    """One training set: images in runs of one identity, then the records that name the key range of each run.

    The header record comes first (key 0), images get the keys 1 .. n in the order in which they are added, and one
    identity record for each run follows. So the images of an identity must be added one after another, with labels
    0, 1, 2 ... `plain`: no header and identity records, keys from 0; InsightFace's loader then takes all keys, since
    the record of key 0 has flag 0.
    The caller closes the streams; `rec` must be seekable (the header record is filled in at the end).
    `height` and `width` go to `property`, and may be set until the end.
    Leaving the `with` block by an exception leaves a file without a header record, not to be published.

    Raises:
        ValueError: labels that do not follow on one another, more than `most` labels, or more records than that, which
            float32 key ranges cannot tell apart (not if `plain`).
    """

    def __init__(
        self,
        rec: IO[bytes],
        idx: IO[bytes],
        properties: IO[bytes],
        height: int = 112,
        width: int = 112,
        plain: bool = False,
        most: int = MAX_EXACT,
    ) -> None:
        self._rec, self._idx, self._properties = rec, idx, properties
        self.height, self.width = height, width
        self._plain, self._most = plain, most
        self._key = 0
        self._starts: list[int] = []

    def __enter__(self) -> "InsightFaceWriter":
        if not self._plain:
            self._put(_range_payload(0, 0, 0))
        return self

    def add(self, label: int, image: bytes) -> int:
        """Write an image's stored bytes unchanged; returns its key."""
        known = len(self._starts)
        if label == known:
            self._starts.append(self._key)
        elif label != known - 1:
            raise ValueError(f"label {label} after {known - 1}: expected {max(known - 1, 0)} or {known}, in dense runs")
        self._refuse_more(0)
        key = self._key
        self._put(IMAGE_HEADER.pack(0, label, key, 0) + image)
        return key

    def add_packed(self, packed: np.ndarray, offsets: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Write records made by `pack_images`, with their keys set; returns the keys.

        Args:
            packed: uint8; the keys are set in it. offsets: int64 (images + 1), where each record begins.
            labels: whole numbers (images), as in the records.
        """
        known, count = len(self._starts), len(labels)
        steps = np.diff(np.concatenate(([known - 1], labels)))
        if ((steps != 0) & (steps != 1)).any() or (count and not known and labels[0]):
            raise ValueError(f"labels {labels[:3].tolist()} ... after {known - 1}: expected dense runs")
        keys = np.arange(self._key, self._key + count)
        self._starts += keys[steps == 1].tolist()
        self._refuse_more(count)
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
        if self._plain:
            self._put_properties()
            return
        first = self._key
        for start, stop in zip(self._starts, [*self._starts[1:], first], strict=True):
            self._put(_range_payload(self._key, start, stop))
        end = self._rec.tell()
        self._rec.seek(0)
        self._rec.write(pack_record(_range_payload(0, first, self._key)))
        self._rec.seek(end)
        self._put_properties()

    def _put_properties(self) -> None:
        self._properties.write(f"{len(self._starts)},{self.height},{self.width}\n".encode())

    def _refuse_more(self, records: int) -> None:
        if len(self._starts) > self._most:
            raise TooManyRecordsError(
                f"more than {self._most} labels, which are float32 and tell no more apart. Keep fewer."
            )
        if not self._plain and self._key + records > self._most:
            raise TooManyRecordsError(
                f"more than {self._most} records: the key ranges of InsightFace's header and identity records are "
                "float32, which cannot tell larger keys apart. Write the plain layout, or several sets."
            )
        if self._key + records > _MAX_KEYS:
            raise TooManyRecordsError(f"more than {_MAX_KEYS} records in one set. Write several sets.")

    def _put(self, payload: bytes) -> None:
        self._refuse_more(1)
        self._idx.write(f"{self._key}\t{self._rec.tell()}\n".encode())
        self._rec.write(pack_record(payload))
        self._key += 1


def _range_payload(key: int, start: int, stop: int) -> bytes:
    return IMAGE_HEADER.pack(2, 0, key, 0) + LABEL.pack(start) + LABEL.pack(stop)
