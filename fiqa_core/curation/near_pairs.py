"""Pairs of nearly equal embeddings inside one set of rows: every pair is looked at, in blocks."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from fiqa_core.curation.cells import cell_file
from fiqa_core.curation.findings_settings import NearSettings
from fiqa_core.curation.same_picture import same_picture
from fiqa_core.curation.similarity import BLOCK, as_float, blocks, in_threads
from fiqa_core.curation.spill import Spilled, gathered
from fiqa_core.curation.tasks import Counts, load_array, save_table
from fiqa_core.curation.thumbnails import thumbnails_of
from fiqa_core.storage import join
from schemas.findings import PAIRS


class Pairs(NamedTuple):
    """Pairs of rids, a < b; similarity float32; left_out: pairs beyond the most a row may have."""

    a: np.ndarray
    b: np.ndarray
    similarity: np.ndarray
    left_out: int


# Places (i, j) of pairs -> whether each counts; -> how alike each one's pictures are, and the least that counts.
Keep = Callable[[np.ndarray, np.ndarray], np.ndarray]
Compare = Callable[[np.ndarray, np.ndarray], np.ndarray]
_PAIRS_AT_ONCE = 262_144


class Confirm(NamedTuple):
    """A second look at pairs that are near by cosine: pairs of `least` or more are found, with that similarity."""

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
) -> Pairs:
    """All pairs from `cosine` on with at least one row of the dataset.

    Args:
        vectors: float16 or float32 (n, d), unit length. rid: int64 (n,), rising. own: rids below are the dataset's.
        most: each row is paired with at most so many earlier ones, the first; to be confirmed, with the nearest.
        keep: which pairs count. confirm: what else they must pass.
    """
    work = [(rid, vectors, start) for start in range(0, len(rid), BLOCK)]

    def one(item: tuple[np.ndarray, np.ndarray, int]) -> Pairs:
        near = _block(item[1], item[0], own, cosine, most, item[2], keep, confirm is not None)
        return _named(near, item[0]) if confirm is None else _named(_confirmed(near, confirm), item[0])

    return joined(list(in_threads(one, work, threads)))


def joined(pairs: Sequence[Pairs]) -> Pairs:
    """Several lists as one, sorted."""
    if not pairs:
        return Pairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32), 0)
    a, b, similarity = (np.concatenate([some[column] for some in pairs]) for column in range(3))
    order = np.lexsort((b, a))
    return Pairs(a[order], b[order], similarity[order], sum(some.left_out for some in pairs))


def _block(
    vectors: np.ndarray,
    rid: np.ndarray,
    own: int,
    cosine: float,
    most: int,
    start: int,
    keep: Keep | None,
    nearest: bool,
) -> Pairs:
    """Places of rows `start` to `start + BLOCK` with all rows of the dataset before each, not yet rids."""
    stop = min(start + BLOCK, len(rid))
    rows = as_float(vectors[start:stop])
    had = np.zeros(stop - start, np.int64)
    found: list[Pairs] = []
    for begin in range(0, min(stop, int(np.searchsorted(rid, own))), BLOCK):
        products = (rows @ as_float(vectors[begin : begin + BLOCK]).T).numpy()
        hit = np.flatnonzero(products.max(axis=1) >= cosine)
        i, j = np.nonzero(products[hit] >= cosine)
        i = hit[i]
        value = products[i, j]
        good = (begin + j < start + i) & (rid[begin + j] < own)
        i, j, value = i[good], begin + j[good], value[good]
        if keep is not None:
            good = _in_pieces(keep, j, start + i)
            i, j, value = i[good], j[good], value[good]
        if nearest:
            # Together with those that earlier rows have left, so that no more than so many are held.
            found = [_nearest(joined([*found, Pairs(j, start + i, value, 0)]), most)]
            continue
        # i is sorted, j within it: the place of each among the pairs of its row.
        place = had[i] + np.arange(len(i)) - np.searchsorted(i, i)
        had += np.bincount(i, minlength=stop - start)
        within = place < most
        found.append(Pairs(j[within], start + i[within], value[within], int((~within).sum())))
    return joined(found)


def _in_pieces(keep: Keep, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    parts = blocks(len(i), _PAIRS_AT_ONCE)
    return np.concatenate([keep(i[part], j[part]) for part in parts]) if parts else np.empty(0, bool)


def _nearest(pairs: Pairs, most: int) -> Pairs:
    """Of the pairs of each later row the `most` with the highest similarity; of equal ones the first."""
    if len(pairs.b) <= most:
        return pairs
    order = np.lexsort((pairs.a, -pairs.similarity, pairs.b))
    later = pairs.b[order]
    within = order[np.arange(len(order)) - np.searchsorted(later, later) < most]
    left_out = pairs.left_out + len(order) - len(within)
    return Pairs(pairs.a[within], pairs.b[within], pairs.similarity[within], left_out)


def _confirmed(near: Pairs, confirm: Confirm) -> Pairs:
    similarity = confirm.compare(near.a, near.b)
    good = similarity >= np.float32(confirm.least)
    return Pairs(near.a[good], near.b[good], similarity[good], near.left_out)


def _named(near: Pairs, rid: np.ndarray) -> Pairs:
    return Pairs(rid[near.a], rid[near.b], np.minimum(near.similarity, np.float32(1)), near.left_out)


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
        """Look at every pair that shares a cell, once, and publish."""
        urls = [cell_file(self.work, number) for number in range(self.spills)]
        rows = gathered(urls, self.group, self.groups)
        found: list[Pairs] = []
        if rows is not None:
            thumbs = thumbnails_of(self.work, rows.rid) if self.settings.by == "picture" else None
            found = [self._in_cell(cell, at, rows, thumbs) for cell, at in self._cells(rows.tag)]
        pairs = joined(found)
        kind = "picture" if self.settings.by == "picture" else "cosine"
        kinds = np.full(len(pairs.a), kind, object)
        columns = {"a": pairs.a, "b": pairs.b, "similarity": pairs.similarity, "kind": kinds}
        save_table(columns, PAIRS, self.output, self.target)
        return {f"pairs_{kind}": len(pairs.a), "pairs_left_out": pairs.left_out}

    def _cells(self, tag: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """The cells of this group, and the places of their rows."""
        row, column = np.nonzero((tag * self.groups) // self.cells == self.group)
        cell = tag[row, column]
        order = np.argsort(cell, kind="stable")
        cells, starts = np.unique(cell[order], return_index=True)
        yield from zip(cells.tolist(), np.split(row[order], starts[1:]), strict=True)

    def _in_cell(self, cell: int, at: np.ndarray, rows: Spilled, thumbs: np.ndarray | None) -> Pairs:
        rid, tag = rows.rid[at], rows.tag[at]
        high = load_array(join(self.work, "high.npy"))[rid]

        def keep(i: np.ndarray, j: np.ndarray) -> np.ndarray:
            both = tag[i][:, :, None] == tag[j][:, None, :]
            first = np.where(both.any(axis=2), tag[i], self.cells).min(axis=1)
            # Not the same stored bytes on both sides: exact duplicates are found by their digests.
            return np.asarray((first == cell) & ((high[i] != high[j]) | (high[i] == 0)))

        def compare(i: np.ndarray, j: np.ndarray) -> np.ndarray:
            if thumbs is None:
                raise ValueError("no thumbnails were read")
            parts = [same_picture(thumbs[at[i[part]]], thumbs[at[j[part]]]) for part in blocks(len(i))]
            return np.concatenate(parts) if parts else np.empty(0, np.float32)

        near, vector = self.settings, rows.vector[at]
        confirm = None if thumbs is None else Confirm(compare, near.least_picture)
        return near_pairs(vector, rid, self.own, near.least_cosine, near.most, self.threads, keep, confirm)
