"""Why a record has no score: the list of codes for tables, counters, logs and docs."""

from enum import StrEnum


class Status(StrEnum):
    """Value of the quality table's `status` column: `scored`, or the reason there is no score."""

    SCORED = "scored"
    ALIGNED = "aligned"  # of align_dataset, which scores nothing

    # The record is there, its image is not usable.
    MISSING_IMAGE = "missing_image"
    EMPTY = "empty"
    NOT_AN_IMAGE = "not_an_image"
    TRUNCATED = "truncated"
    CORRUPT = "corrupt"
    UNSUPPORTED = "unsupported"
    TOO_LARGE = "too_large"
    TOO_SMALL = "too_small"

    # The image is usable, but which face is meant is not known (`--align` only).
    NO_FACE = "no_face"
    SEVERAL_FACES = "several_faces"

    # The record is there, its bytes or its place are not.
    UNREADABLE = "unreadable"
    UNSAFE_NAME = "unsafe_name"

    # The network gave no usable number.
    NON_FINITE = "non_finite"

    # One row for the rest of a shard, or for a stretch of it: how many records it held is not known.
    SHARD_UNREADABLE = "shard_unreadable"
    SHARD_TRUNCATED = "shard_truncated"


# Nothing is wrong with the record.
DONE: frozenset[Status] = frozenset({Status.SCORED, Status.ALIGNED})

REASONS: dict[Status, str] = {
    Status.SCORED: "The network scored the image.",
    Status.ALIGNED: "The face was found and its aligned crop written (`fiqa align`, which scores nothing).",
    Status.MISSING_IMAGE: "The record holds no image: a null field, or a sample of sidecar files only.",
    Status.EMPTY: "The image is zero bytes long.",
    Status.NOT_AN_IMAGE: "The bytes are not of an image format that is read here.",
    Status.TRUNCATED: "The image ends before its last row of pixels.",
    Status.CORRUPT: "The image format is recognised but its content cannot be decoded.",
    Status.UNSUPPORTED: "The image is of a kind whose pixels have no defined 8-bit RGB meaning here.",
    Status.TOO_LARGE: "The image has more stored bytes, or more pixels, than the limits admit.",
    Status.TOO_SMALL: "A side of the image is shorter than the limit.",
    Status.NO_FACE: "No face was found in the picture (`--align` only).",
    Status.SEVERAL_FACES: "The picture has several faces and the rule (`--faces`) does not say which is meant.",
    Status.UNREADABLE: "The stored bytes could not be read from the store or the container.",
    Status.UNSAFE_NAME: "The record's name points out of its container (absolute, or with `..`), or is too long.",
    Status.NON_FINITE: "The network's score is not a finite number.",
    Status.SHARD_UNREADABLE: "The shard, or a stretch of it, could not be read; the records in it are not known.",
    Status.SHARD_TRUNCATED: "The shard ends in mid-record; the records after this place are lost.",
}

SHARD_LEVEL: frozenset[Status] = frozenset({Status.SHARD_UNREADABLE, Status.SHARD_TRUNCATED})
