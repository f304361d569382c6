"""Which row has which embedding; decided once, before embeddings are read."""

from collections.abc import Sequence

import numpy as np

from fiqa_core.curation.findings.rows import Rows
from fiqa_core.curation.findings.tasks import Counts
from fiqa_core.tables.embedding_files import EmbeddingFile, EmbeddingSource, join_digests, key_digests
from fiqa_core.tables.quality_files import TableError, TableFile
from fiqa_core.wording import counted


def match_embeddings(
    source: EmbeddingSource, files: Sequence[EmbeddingFile], parts: Sequence[TableFile], rows: Rows
) -> tuple[np.ndarray, np.ndarray, Counts]:
    """The embedding of each row: (number of the embedding, rid of the row), in order of the embeddings.

    Rows with the same stored bytes share one embedding; of several embeddings of the same bytes the first is taken.

    Raises:
        TableError: a key that occurs twice, or no row has an embedding.
    """
    wanted = np.flatnonzero(rows.scored)
    if source.kind == "column":
        # These files are the rows themselves; a file without the column gives none.
        has = np.concatenate([np.full(file.rows, file.dim > 0) for file in files])
        rid = wanted[has[wanted]]
        return rid, rid, {"rows": len(rows.scored), "scored": len(wanted), "without_embedding": len(wanted) - len(rid)}
    theirs = join_digests(source, files)
    ours = (rows.high, rows.low) if source.join == "sha256" else key_digests(parts)
    number, rid = _match(theirs, (ours[0][wanted], ours[1][wanted]))
    rid = wanted[rid]
    if source.join == "key":
        _refuse_ambiguous(number, rid, files)
    order = np.lexsort((number, rid))
    number, rid = number[order], rid[order]
    new = np.ones(len(rid), bool)
    new[1:] = rid[1:] != rid[:-1]
    repeated = int(len(rid) - new.sum())
    number, rid = number[new], rid[new]
    if not len(rid):
        raise TableError(
            f"{files[0].url}: none of its {counted(len(theirs[0]), 'embedding')} belongs to a row of the quality "
            f"tables (joined by {source.join}). Were they made from the same stored files?"
        )
    order = np.lexsort((rid, number))
    counts = {
        "rows": len(rows.scored),
        "scored": len(wanted),
        "without_embedding": len(wanted) - len(rid),
        "embeddings_repeated": repeated,
        "embeddings_unused": len(theirs[0]) - len(np.unique(number)),
    }
    return number[order], rid[order], counts


def _match(left: tuple[np.ndarray, np.ndarray], right: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """All (i, j) with left[i] == right[j]; (0, 0) equals nothing."""
    order = np.argsort(right[0], kind="stable")
    sorted_high = right[0][order]
    start = np.searchsorted(sorted_high, left[0], "left")
    count = np.searchsorted(sorted_high, left[0], "right") - start
    count[(left[0] == 0) & (left[1] == 0)] = 0
    i = np.repeat(np.arange(len(left[0])), count)
    within = np.arange(len(i)) - np.repeat(np.cumsum(count) - count, count)
    j = order[np.repeat(start, count) + within]
    same = left[1][i] == right[1][j]
    return i[same], j[same]


def _refuse_ambiguous(number: np.ndarray, rid: np.ndarray, files: Sequence[EmbeddingFile]) -> None:
    values, count = np.unique(rid, return_counts=True)
    if (count > 1).any():
        raise TableError(
            f"{files[0].url}: {counted(int((count > 1).sum()), 'key has', 'keys have')} several embeddings (row "
            f"{int(values[count > 1][0])} of the quality tables has). Each key must occur once; or join by sha256."
        )
    # The same key in the dataset and in --against names two pictures.
    values, count = np.unique(number, return_counts=True)
    if (count > 1).any():
        raise TableError(
            f"{files[0].url}: embedding {int(values[count > 1][0])} has the key of {int(count[count > 1][0])} rows of "
            "the quality tables. Keys that are not unique cannot join; join by sha256."
        )
