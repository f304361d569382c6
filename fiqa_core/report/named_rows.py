"""Rows of the quality table by the names that a pair list has for them."""

from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fiqa_core.evaluation.keys import KeyIndex
from fiqa_core.tables.quality_files import TableFile
from fiqa_core.tables.row_batches import read_part

_ENDING = r"(?i)\.[a-z0-9]{1,5}$"


def rows_named(parts: Sequence[TableFile], names: Iterable[str]) -> dict[str, int]:
    """Rids by name, found as the evaluation finds them (`KeyIndex`); a name that no row or several rows have is left
    out.

    Only keys that end like one of the names are held in memory.
    """
    wanted = list(dict.fromkeys(names))
    if not wanted:
        return {}
    endings = pc.unique(_last(pa.array(wanted, pa.string())))
    rids: list[np.ndarray] = []
    keys: list[pa.Array] = []
    for part in parts:
        first = part.first
        for batch in read_part(part, ["key"]):
            texts = batch.column("key").cast(pa.string())
            near = pc.indices_nonzero(pc.fill_null(pc.is_in(_last(texts), endings), False))
            keys.append(texts.take(near))
            rids.append(near.to_numpy().astype(np.int64) + first)
            first += batch.num_rows
    rows = KeyIndex(pa.chunked_array(keys, pa.string()), "the quality table").find(wanted)
    found = np.concatenate(rids)
    return {wanted[place]: int(found[rows[place]]) for place in np.flatnonzero(rows >= 0).tolist()}


def _last(names: pa.Array) -> pa.Array:
    """File names without folders and ending."""
    return pc.replace_substring_regex(pc.replace_substring_regex(names, r"^.*/", ""), _ENDING, "")
