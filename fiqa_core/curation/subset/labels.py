"""The map from labels to 0 .. n-1, and its file."""

import csv
import functools
import hashlib
import io
import re
from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from fiqa_core.curation.csv_cells import defused, quoted, restored
from fiqa_core.curation.subset.settings import LABELS, SubsetError, place
from fiqa_core.storage import open_read, publish_bytes

_WHOLE = re.compile(r"-?[0-9]{1,30}")
_REPORT = "This is a fault of the program: please report it. Without --relabel no numbers are needed."
_COLUMNS = ["label", "new_label", "images"]


def in_order(labels: Mapping[str, int]) -> list[str]:
    """Labels sorted: as numbers if all of them are whole numbers, else as text."""
    if all(_WHOLE.fullmatch(label) for label in labels):
        return sorted(labels, key=lambda label: (int(label), label))
    return sorted(labels)


def publish_labels(output: str, counts: Mapping[str, int]) -> str:
    """Write `labels.csv` (label, new_label, images; labels as `csv_cells` writes them); returns its digest."""
    ordered = in_order(counts)
    lines = [f"{quoted(defused(label))},{number},{counts[label]}\n" for number, label in enumerate(ordered)]
    data = "".join([",".join(_COLUMNS) + "\n", *lines]).encode()
    if _parsed(data) != ordered:
        raise SubsetError(f"{place(output, LABELS)}: a label cannot be read back as it was written. {_REPORT}")
    publish_bytes(data, output, place(output, LABELS))
    return hashlib.sha256(data).hexdigest()[:16]


@functools.lru_cache(maxsize=2)
def read_labels(output: str, expected: str) -> pa.Array:
    """The labels in order of their numbers; read once in each process.

    Raises:
        SubsetError: the file is not the one that was planned with.
    """
    url = place(output, LABELS)
    with open_read(url) as stream:
        data = stream.read()
    if hashlib.sha256(data).hexdigest()[:16] != expected:
        raise SubsetError(f"{url}: changed since the subset was planned. Write the subset again.")
    return pa.array(_parsed(data), pa.string())


def _parsed(data: bytes) -> list[str]:
    """The labels of the file, in order."""
    rows = csv.reader(io.StringIO(data.decode(), newline=""))
    next(rows)
    return [restored(row[0]) for row in rows]


def numbers(labels: pa.Array, known: pa.Array) -> pa.Array:
    """int32 numbers of labels; null if a label is null."""
    return pc.index_in(labels, value_set=known)
