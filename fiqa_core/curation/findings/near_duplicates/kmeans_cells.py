"""Cells of a large dataset's embeddings, by k-means: only images that share a cell are compared."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from fiqa_core.curation.findings.partition_embeddings import sample_file, spill_file
from fiqa_core.curation.findings.similarity import BLOCK, as_float, blocks, in_threads, unit_rows
from fiqa_core.curation.findings.spill_files import Spilled, SpillWriter, read_spilled
from fiqa_core.curation.findings.tasks import Counts, load_array, save_array
from fiqa_core.storage import join, publish, temporary_for

_ITERATIONS = 5


def number_of_cells(images: int, exact_up_to: int) -> int:
    """Number of cells: 1 up to `exact_up_to` images, so that every pair is compared; 2 sqrt(n) above."""
    return 1 if images <= exact_up_to else round(2 * images**0.5)


def train_cells(sample: np.ndarray, cells: int, threads: int) -> np.ndarray:
    """Spherical k-means, started from every k-th vector of the sample; float32 (k, d), k <= cells.

    Args:
        sample: float16 or float32 (n, d), unit length, in a fixed order.
    """
    x = as_float(sample)
    centres = x[np.linspace(0, len(x) - 1, min(cells, len(x))).round().astype(np.int64)].clone()
    for _ in range(_ITERATIONS):
        nearest = _nearest(x, centres, threads)
        total = torch.zeros_like(centres).index_add_(0, nearest, x).numpy()
        unit, length = unit_rows(total)
        # A cell without members keeps its centre.
        centres = torch.from_numpy(np.where(length[:, None] > 0, unit, centres.numpy()))
    return centres.numpy()


def _nearest(x: torch.Tensor, centres: torch.Tensor, threads: int) -> torch.Tensor:
    across = centres.T.contiguous()
    return torch.cat(list(in_threads(lambda part: (x[part] @ across).argmax(dim=1), blocks(len(x)), threads)))


def nearest_cells(vectors: np.ndarray, cells: np.ndarray, probes: int, threads: int) -> np.ndarray:
    """The `probes` nearest cells of each vector, ascending, int64 (n, probes)."""
    across = as_float(cells).T.contiguous()
    probes = min(probes, len(cells))
    if len(cells) == 1:
        return np.zeros((len(vectors), 1), np.int64)
    parts = in_threads(
        lambda part: (as_float(vectors[part]) @ across).topk(probes, dim=1).indices, blocks(len(vectors)), threads
    )
    return np.concatenate([np.sort(part.numpy(), axis=1) for part in parts]).astype(np.int64)


@dataclass(frozen=True)
class TrainTask:
    """The sample -> the centres of the cells."""

    output: str
    work: str
    spills: int
    cells: int
    threads: int

    @property
    def name(self) -> str:
        return "cells"

    def run(self) -> Counts:
        """Train and publish."""
        some = list(read_spilled([sample_file(self.work, number) for number in range(self.spills)], None, 1))
        rid = np.concatenate([rows.rid for rows in some])
        vector = np.concatenate([rows.vector for rows in some])[np.argsort(rid)]
        save_array(train_cells(vector, self.cells, self.threads), self.output, centre_file(self.work))
        return {}


@dataclass(frozen=True)
class AssignTask:
    """One spill file -> its rows by groups of cells; one row for each picture, in each group that has one of its
    cells."""

    output: str
    work: str
    number: int
    groups: int
    cells: int
    probes: int
    threads: int

    @property
    def name(self) -> str:
        return f"assign-{self.number:06d}"

    def run(self) -> Counts:
        """Assign and publish."""
        centres = load_array(centre_file(self.work)) if self.cells > 1 else np.zeros((1, 1), np.float32)
        images = 0
        with temporary_for(self.output) as path:
            writer = None
            for rows in pictures(spill_file(self.work, self.number)):
                if writer is None:
                    probes = min(self.probes, len(centres))
                    writer = SpillWriter(path, self.groups, probes, rows.vector.shape[1])
                tag = nearest_cells(rows.vector, np.asarray(centres), self.probes, self.threads)
                images += len(rows.rid)
                group = (tag * self.groups) // len(centres)
                fresh = np.ones(group.shape, bool)
                fresh[:, 1:] = group[:, 1:] != group[:, :-1]
                at, column = np.nonzero(fresh)
                writer.write(Spilled(rows.rid[at], tag[at], rows.vector[at]), group[at, column])
            if writer is None:
                writer = SpillWriter(path, self.groups, 1, 1)
            writer.close()
            publish(path, cell_file(self.work, self.number))
        return {"compared": images}


def pictures(url: str) -> Iterator[Spilled]:
    """The pictures of a spill file: rows whose bytes do not occur in an earlier row, a few thousand at a time."""
    held: list[Spilled] = []
    count = 0
    for rows in read_spilled([url], None, 1):
        one = rows.rid == rows.tag[:, 1]
        held.append(Spilled(*(part[one] for part in rows)))
        count += int(one.sum())
        if count >= 8 * BLOCK:
            yield Spilled(*(np.concatenate(list(parts)) for parts in zip(*held, strict=True)))
            held, count = [], 0
    if count:
        yield Spilled(*(np.concatenate(list(parts)) for parts in zip(*held, strict=True)))


def centre_file(work: str) -> str:
    """URL of the centres of the cells."""
    return join(work, "cells", "centres.npy")


def cell_file(work: str, number: int) -> str:
    """URL of the rows of one spill file by groups of cells."""
    return join(work, "cells", f"rows-{number:06d}.arrow")
