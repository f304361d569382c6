"""The dropped rows of a decisions file that have an image."""

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from fiqa_core.storage import open_read
from fiqa_core.tables.row_batches import checked, damage_named

_ROWS_AT_ONCE = 8192


def dropped_rows(url: str, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """These columns of the rows that are not kept and have a sha256, in order, and `row`: the number of each in the
    file; a few thousand at a time.

    Raises:
        TableError: the file is damaged.
    """
    first = 0
    with damage_named(url), open_read(url) as stream:
        wanted = dict.fromkeys((*columns, "keep", "sha256"))
        for batch in checked(stream).iter_batches(_ROWS_AT_ONCE, columns=list(wanted)):
            numbers = pa.array(range(first, first + batch.num_rows), pa.int64())
            first += batch.num_rows
            chosen = pc.and_(pc.invert(batch["keep"]), batch["sha256"].is_valid())
            arrays = [*(batch[name] for name in columns), numbers]
            yield pa.RecordBatch.from_arrays(arrays, [*columns, "row"]).filter(chosen)
