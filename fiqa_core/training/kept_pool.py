"""The part of a teacher's pool that a decisions table keeps."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from fiqa_core.shards.unit import Unit
from fiqa_core.training.dataset_index import DatasetIndex
from fiqa_core.training.errors import TrainingError
from fiqa_core.training.pool import Pool


def kept_of(pool: Pool, units: Sequence[Unit], index: DatasetIndex) -> tuple[Pool, np.ndarray]:
    """The images of a pool (with their copies) that an index keeps, with its labels; and their weights, float32 (M,).

    The pool on the disk does not change, so one pool serves several tables.

    Raises:
        TrainingError: none of the pool's images is kept.
    """
    classes = np.full(pool.rows.num_rows, -1)
    weights = np.zeros(pool.rows.num_rows, np.float32)
    for first, number, pixels in zip(pool.firsts, pool.numbers, pool.parts, strict=True):
        # By the unit, not by the rows' own shard: the dataset may have had another path when the pool was made.
        known = index.of_shard(units[number].shard)
        places = known.places(pool.rows["index"].slice(first, len(pixels)).to_numpy())
        here = first + np.flatnonzero(places >= 0)
        classes[here], weights[here] = known.classes[places[places >= 0]], known.weights[places[places >= 0]]
    chosen = np.flatnonzero(classes >= 0)
    if not len(chosen):
        raise TrainingError(
            "data.decisions keeps none of the images in the teacher's pool; nothing is left to train on"
        )
    rows = pool.rows.take(pa.array(chosen))
    labels = pa.DictionaryArray.from_arrays(classes[chosen], pa.array(index.labels)).cast(pa.string())
    rows = rows.set_column(rows.schema.get_field_index("label"), "label", labels)
    second = pool.second
    if second is not None:  # one row for each clean image
        second = second[classes[pool.rows["copy"].to_numpy() == 0] >= 0]
    kept = replace(pool, rows=rows, embeddings=pool.embeddings[chosen], chosen=chosen, second=second)
    return kept, weights[chosen]
