"""Images on their way into a shard."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from fiqa_core.shards.batch import ImageBatch


def image_batch(
    images: Sequence[bytes],
    keys: Sequence[str],
    labels: Sequence[str | None],
    numbers: Sequence[int | None] | None = None,
    position: int = 0,
) -> ImageBatch:
    """A batch of stored images with made-up decisions."""
    sizes = np.array([len(image) for image in images], np.int64)
    count = len(images)
    rows = pa.table(
        {
            "key": pa.array(list(keys), pa.string()),
            "label": pa.array(list(labels), pa.string()),
            "number": pa.array(list(numbers or [None] * count), pa.int32()),
            "quality": pa.array([0.5] * count, pa.float32()),
            "tier": pa.array(["A"] * count, pa.string()),
            "weight": pa.array([1.0] * count, pa.float32()),
        }
    )
    return ImageBatch(rows, position, memoryview(b"".join(images)), np.cumsum(sizes) - sizes, sizes)
