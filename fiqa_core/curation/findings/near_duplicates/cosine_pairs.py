"""Pairs of nearly equal embeddings inside one set of rows: every pair is compared, block by block.

All pairs are listed, except among rows that are each near more than `most` others: these form crowds.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from fiqa_core.curation.findings.near_duplicates.crowds import Compare, find_crowds
from fiqa_core.curation.findings.near_duplicates.equal_vectors import few_of_each
from fiqa_core.curation.findings.near_duplicates.kmeans_cells import cell_file
from fiqa_core.curation.findings.near_duplicates.same_picture import same_picture
from fiqa_core.curation.findings.near_duplicates.thumbnails import thumbnails_of
from fiqa_core.curation.findings.settings import NearSettings
from fiqa_core.curation.findings.similarity import BLOCK, as_float, blocks, in_threads
from fiqa_core.curation.findings.spill_files import Spilled, gathered
from fiqa_core.curation.findings.tasks import Counts, load_array, save_table
from fiqa_core.storage import join
from schemas.findings import PAIRS


class NearPairs(NamedTuple):
    """Pairs of rids, a < b; similarity float32; crowd: the row in the middle of the crowd that the other row belongs
    to, -1 for a plain pair. left_out: candidates whose pictures were not compared."""

    a: np.ndarray
    b: np.ndarray
    similarity: np.ndarray
    crowd: np.ndarray
    left_out: int = 0


# Places (i, j) of pairs -> whether each pair counts.
Keep = Callable[[np.ndarray, np.ndarray], np.ndarray]
_PAIRS_AT_ONCE = 262_144
_COMPARED_AT_ONCE = 4096


class Confirm(NamedTuple):
    """A second comparison of pairs that are near by cosine: those of at least `least` are kept, with this
    similarity."""

    compare: Compare
    least: float


def near_pairs(
    vectors: np.ndarray,
    rid: np.ndarray,
    own: int,
    cosine: float,
    most: int,
    threads: int = 1,
    keep: Keep | None = None,
    confirm: Confirm | None = None,
    quality: np.ndarray | None = None,
) -> NearPairs:
    """All pairs with at least this cosine and at least one row of the dataset; crowds in place of too many pairs.

    Args:
        vectors: float16 or float32 (n, d), unit length. rid: int64 (n,), ascending. own: smaller rids belong to the
            dataset.
        most: rows that are near more rows of the dataset than this form crowds (`find_crowds`). A row is paired with at
            most this many rows outside the dataset, the nearest.
        keep: which pairs count. confirm: a second comparison. quality: float32 (n,), the best rows become the middles
            of crowds; None: the first rows.
    """
    mine = int(np.searchsorted(rid, own))
    found = [*_within(vectors[:mine], cosine, most, threads, keep, confirm, quality)]
    work = blocks(mine, BLOCK) if mine < len(rid) else []
    for near in in_threads(lambda block: _pairs_with_others(vectors, block, mine, cosine, most, keep), work, threads):
        again, left_out = _confirmed(near, confirm, threads), 0
        unmatched = np.isin(near.a, again.a, invert=True) if confirm is not None else np.empty(0, bool)
        if near.left_out and unmatched.any():
            left_out = near.left_out
        found.append(again._replace(left_out=left_out))
    pairs = joined(found)
    named = [np.where(column >= 0, rid[column], -1) for column in (pairs.a, pairs.b, pairs.crowd)] if len(rid) else []
    a, b, crowd = named or (pairs.a, pairs.b, pairs.crowd)
    return NearPairs(a, b, np.minimum(pairs.similarity, np.float32(1)), crowd, pairs.left_out)


def joined(pairs: Sequence[NearPairs]) -> NearPairs:
    """Several lists joined and sorted."""
    if not pairs:
        return plain(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))
    a, b, similarity, crowd = (np.concatenate([some[column] for some in pairs]) for column in range(4))
    order = np.lexsort((crowd, b, a))
    return NearPairs(a[order], b[order], similarity[order], crowd[order], sum(some.left_out for some in pairs))


def plain(a: np.ndarray, b: np.ndarray, similarity: np.ndarray, left_out: int = 0) -> NearPairs:
    """Pairs outside crowds."""
    return NearPairs(a, b, similarity, np.full(len(a), -1, np.int64), left_out)


def _within(
    vectors: np.ndarray,
    cosine: float,
    most: int,
    threads: int,
    keep: Keep | None,
    confirm: Confirm | None,
    quality: np.ndarray | None,
) -> Iterator[NearPairs]:
    """Pairs inside the dataset, as places."""
    looked_at, surplus = few_of_each(vectors, cosine, most + 2)
    near, crowded = _listed(vectors[looked_at] if len(surplus) else vectors, cosine, most, threads)
    near = plain(looked_at[near.a], looked_at[near.b], near.similarity)
    # A row that is near a vector which occurs that often is near more than `most` rows, so it is in a crowd itself.
    crowd = np.sort(np.concatenate([looked_at[crowded], surplus]))
    if keep is not None:
        good = _in_blocks(keep, near.a, near.b)
        near = plain(near.a[good], near.b[good], near.similarity[good])
    yield _confirmed(near, confirm, threads)
    if len(crowd):
        best = -quality[crowd] if quality is not None else np.zeros(len(crowd))
        order = crowd[np.lexsort((crowd, np.nan_to_num(best, nan=np.inf)))]
        compare, least = (None, 0.0) if confirm is None else confirm
        some = find_crowds(vectors, order, cosine, most, compare, least)
        low, high = np.minimum(some.member, some.middle), np.maximum(some.member, some.middle)
        yield NearPairs(low, high, some.similarity, np.where(some.belongs, some.middle, -1), some.left_out)


def _listed(vectors: np.ndarray, cosine: float, most: int, threads: int) -> tuple[NearPairs, np.ndarray]:
    """All pairs except those inside crowds, and whether each row is in a crowd."""
    degree = np.zeros(len(vectors), np.int64)
    listed = []
    for start, near, earlier, later in in_threads(
        lambda block: _earlier(vectors, block, cosine, most), blocks(len(vectors), BLOCK), threads
    ):
        degree[start : start + len(earlier)] += earlier
        degree[: len(later)] += later
        listed.append(near)
    crowded = degree > most
    near = joined(listed)
    good = ~crowded[near.b]
    found = [plain(near.a[good], near.b[good], near.similarity[good])]
    crowd, alone = np.flatnonzero(crowded), np.flatnonzero(~crowded)
    if len(crowd) and len(alone):
        # A row of a crowd may have more pairs than were listed; a row outside crowds has few.
        work = [crowd[block] for block in blocks(len(crowd))]
        found += in_threads(lambda rows: _before(vectors, rows, alone, cosine), work, threads)
    return joined(found), crowded


def _earlier(
    vectors: np.ndarray, block: slice, cosine: float, most: int
) -> tuple[int, NearPairs, np.ndarray, np.ndarray]:
    """Pairs of some rows with all rows before them, for rows with up to `most`; and the number of pairs of each row."""
    rows = as_float(vectors[block])
    start, stop = block.start, block.stop
    had, later = np.zeros(stop - start, np.int64), np.zeros(stop, np.int64)
    found: list[NearPairs] = []
    for begin in range(0, stop, BLOCK):
        end = min(begin + BLOCK, stop)
        near = (rows @ as_float(vectors[begin:end]).T).numpy()
        hit = near >= cosine
        if begin == start:
            hit &= np.tri(len(hit), k=-1, dtype=bool)
        later[begin:end] = hit.sum(axis=0)
        hits = hit.sum(axis=1)
        had += hits
        few = np.flatnonzero((hits > 0) & (had <= most))
        i, j = np.nonzero(hit[few])
        i = few[i]
        found.append(plain(begin + j, start + i, near[i, j]))
    return start, joined(found), had, later


def _before(vectors: np.ndarray, rows: np.ndarray, others: np.ndarray, cosine: float) -> NearPairs:
    """Pairs of rows with other rows that come before them."""
    x = as_float(vectors[rows])
    found = []
    for block in blocks(len(others)):
        near = (x @ as_float(vectors[others[block]]).T).numpy()
        i, j = np.nonzero(near >= cosine)
        a, b = others[block][j], rows[i]
        good = a < b
        found.append(plain(a[good], b[good], near[i, j][good]))
    return joined(found)


def _pairs_with_others(
    vectors: np.ndarray, block: slice, mine: int, cosine: float, most: int, keep: Keep | None
) -> NearPairs:
    """Pairs of some rows of the dataset with rows outside it, the nearest of each."""
    x = as_float(vectors[block])
    near = joined([])
    for some in blocks(len(vectors) - mine):
        begin = mine + some.start
        products = (x @ as_float(vectors[begin : mine + some.stop]).T).numpy()
        i, j = np.nonzero(products >= cosine)
        a, b, value = block.start + i, begin + j, products[i, j]
        if keep is not None:
            good = _in_blocks(keep, a, b)
            a, b, value = a[good], b[good], value[good]
        near = _nearest(joined([near, plain(a, b, value)]), most)
    return near


def _nearest(pairs: NearPairs, most: int) -> NearPairs:
    """Of the pairs of each earlier row the `most` with the highest similarity; of equally similar ones the first."""
    order = np.lexsort((pairs.b, -pairs.similarity, pairs.a))
    row = pairs.a[order]
    within = order[np.arange(len(order)) - np.searchsorted(row, row) < most]
    left_out = pairs.left_out + len(order) - len(within)
    return plain(pairs.a[within], pairs.b[within], pairs.similarity[within], left_out)


def _in_blocks(keep: Keep, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    parts = blocks(len(i), _PAIRS_AT_ONCE)
    return np.concatenate([keep(i[block], j[block]) for block in parts]) if parts else np.empty(0, bool)


def _confirmed(near: NearPairs, confirm: Confirm | None, threads: int) -> NearPairs:
    if confirm is None or not len(near.a):
        return near._replace(left_out=0)
    compare, least = confirm
    parts = blocks(len(near.a), _COMPARED_AT_ONCE)
    found = in_threads(lambda block: compare(near.a[block], near.b[block]), parts, threads)
    similarity = np.concatenate(list(found))
    good = similarity >= np.float32(least)
    return plain(near.a[good], near.b[good], similarity[good])


@dataclass(frozen=True)
class PairTask:
    """The cells of one group -> one file of pairs."""

    output: str
    work: str
    target: str
    group: int
    groups: int
    cells: int
    spills: int
    own: int
    settings: NearSettings
    threads: int

    @property
    def name(self) -> str:
        return f"pairs-{self.group:06d}"

    def run(self) -> Counts:
        """Compare every pair that shares a cell, once, and publish the pairs."""
        urls = [cell_file(self.work, number) for number in range(self.spills)]
        rows = gathered(urls, self.group, self.groups)
        found: list[NearPairs] = []
        if rows is not None:
            thumbs = thumbnails_of(self.work, rows.rid) if self.settings.by == "picture" else None
            found = [self._in_cell(cell, at, rows, thumbs) for cell, at in self._cells(rows.tag)]
        pairs = joined(found)
        kind = "picture" if self.settings.by == "picture" else "cosine"
        kinds = np.full(len(pairs.a), kind, object)
        columns = {"a": pairs.a, "b": pairs.b, "similarity": pairs.similarity, "kind": kinds}
        columns["crowd"] = pa.array(pairs.crowd, mask=pairs.crowd < 0)
        save_table(columns, PAIRS, self.output, self.target)
        return {f"pairs_{kind}": len(pairs.a), "pairs_left_out": pairs.left_out}

    def _cells(self, tag: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """The cells of this group, and the places of their rows."""
        row, column = np.nonzero((tag * self.groups) // self.cells == self.group)
        cell = tag[row, column]
        order = np.argsort(cell, kind="stable")
        cells, starts = np.unique(cell[order], return_index=True)
        yield from zip(cells.tolist(), np.split(row[order], starts[1:]), strict=True)

    def _in_cell(self, cell: int, at: np.ndarray, rows: Spilled, thumbs: np.ndarray | None) -> NearPairs:
        rid, tag = rows.rid[at], rows.tag[at]
        high, quality = (load_array(join(self.work, f"{name}.npy"))[rid] for name in ("high", "quality"))

        def keep(i: np.ndarray, j: np.ndarray) -> np.ndarray:
            both = tag[i][:, :, None] == tag[j][:, None, :]
            first = np.where(both.any(axis=2), tag[i], self.cells).min(axis=1)
            # Pairs with the same stored bytes do not count: exact duplicates are found by their digests.
            return np.asarray((first == cell) & ((high[i] != high[j]) | (high[i] == 0)))

        def compare(i: np.ndarray, j: np.ndarray) -> np.ndarray:
            if thumbs is None:
                raise ValueError("no thumbnails were read")
            parts = [same_picture(thumbs[at[i[block]]], thumbs[at[j[block]]]) for block in blocks(len(i))]
            return np.concatenate(parts) if parts else np.empty(0, np.float32)

        near, vector = self.settings, rows.vector[at]
        confirm = None if thumbs is None else Confirm(compare, near.least_picture)
        return near_pairs(vector, rid, self.own, near.least_cosine, near.most, self.threads, keep, confirm, quality)
