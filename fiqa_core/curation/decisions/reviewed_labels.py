"""Labels that a person gave to single images: tables are read with them, so that every rule and search sees them."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from fiqa_core.curation.decisions.review import Review
from fiqa_core.tables.quality_files import TableFile


class ReviewedLabels:
    """The labels of a review by the digest of the image.

    Attributes:
        digest: SHA-256 of what it says. has_labels: see `quality_files.Corrections`.
    """

    def __init__(self, review: Review, has_labels: bool) -> None:
        given = sorted((entry.sha256, entry.label) for entry in review.entries if entry.label is not None)
        self.digest = hashlib.sha256(json.dumps(given).encode()).hexdigest()
        self.has_labels = has_labels
        self._digests = pa.array([bytes.fromhex(sha256) for sha256, _ in given], pa.binary())
        self._labels = pa.array([label for _, label in given], pa.string())

    def of(self, digests: pa.Array, labels: pa.Array) -> pa.Array:
        """The labels (text), with those of the reviewed images replaced."""
        places = pc.index_in(digests.cast(pa.binary()), value_set=self._digests)
        return pc.coalesce(self._labels.take(places), labels)


def with_reviewed_labels(parts: Sequence[TableFile], review: Review | None) -> tuple[TableFile, ...]:
    """The files of a table, read with the labels that a review gives; as they are if it gives none."""
    if review is None or all(entry.label is None for entry in review.entries):
        return tuple(parts)
    corrected = {has: ReviewedLabels(review, has) for has in (False, True)}
    return tuple(
        replace(
            part,
            corrections=corrected["label" in part.columns],
            columns=tuple(dict.fromkeys((*part.columns, "label"))),
        )
        for part in parts
    )
