"""Write TFRecord shards of tf.train.Example, as TensorFlow, `tfrecord` and this package's reader read them."""

from typing import IO

from fiqa_core.shards.batch import ImageBatch
from fiqa_core.shards.output import ShardOutput, ShardWriter
from fiqa_core.shards.tfrecord.example import FILENAME, IMAGE, LABEL, LABEL_TEXT, serialised
from fiqa_core.shards.tfrecord.framing import framed

_INT64 = range(-(1 << 63), 1 << 63)


class TFRecordShards(ShardOutput):
    """TFRecord shards: `image/encoded`, `image/class/label`, `image/filename`, and what the decisions say of each."""

    suffix = ".tfrecord"

    def begin(self, stream: IO[bytes], dense: bool) -> ShardWriter:
        """Begin a file."""
        return TFRecordShardWriter(stream, dense)


class TFRecordShardWriter:
    """One TFRecord file.

    A label that is a whole number is `image/class/label` (int64, as converters and trainers expect it), any other one
    `image/class/text`; with `dense` labels the number is the former, and what the label was is the latter.
    """

    def __init__(self, stream: IO[bytes], dense: bool) -> None:
        self._stream, self._dense = stream, dense

    def add_batch(self, batch: ImageBatch) -> list[str]:
        """Write one record an image; the keys under which they will be found are their own."""
        keys, parts = [], []
        for image in batch.images():
            features: dict[str, bytes | int | float] = {
                IMAGE: image.data,
                FILENAME: image.key.encode(),
                "weight": float(image.weight),
            }
            features |= _label(image.number if self._dense else None, image.label)
            if image.quality is not None:
                features["quality"] = float(image.quality)
            if image.tier is not None:
                features["tier"] = image.tier.encode()
            parts.append(framed(serialised(features)))
            keys.append(image.key)
        self._stream.write(b"".join(parts))
        return keys

    def close(self) -> None:
        """Nothing: a TFRecord file ends with its last record."""

    def abandon(self) -> None:
        """Nothing is held."""


def _label(number: int | None, label: str | None) -> dict[str, bytes | int]:
    if number is not None:
        return {LABEL: number} if label is None else {LABEL: number, LABEL_TEXT: label.encode()}
    if label is None:
        return {}
    if _is_whole_number(label):
        return {LABEL: int(label)}
    return {LABEL_TEXT: label.encode()}


def _is_whole_number(label: str) -> bool:
    """Whether an int64 stands for exactly this text."""
    return len(label) <= 20 and label.lstrip("-").isdecimal() and str(int(label)) == label and int(label) in _INT64
