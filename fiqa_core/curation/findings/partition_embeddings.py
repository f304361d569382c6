"""Embeddings sorted into partitions by identity: read once, scaled to unit length, published as spill files."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from fiqa_core.curation.findings.similarity import unit_rows
from fiqa_core.curation.findings.spill_files import Spilled, SpillWriter
from fiqa_core.curation.findings.tasks import Counts, load_array
from fiqa_core.storage import join, publish, temporary_for
from fiqa_core.tables.embedding_files import EmbeddingFile, read_embedding_rows

ROWS_A_TASK = 65_536
_ODD = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class GatherTask:
    """Rows of embedding files -> one spill file, and a sample of them.

    Attributes:
        slices: (file, first row in it, one after the last). partitions: number of partitions of identities; one
            more holds the rows that are not judged (no label, or of --against).
        sample_one_in: an image is in the sample if the hash of its rid is a multiple of this.
    """

    output: str
    work: str
    number: int
    slices: tuple[tuple[EmbeddingFile, int, int], ...]
    partitions: int
    sample_one_in: int

    @property
    def name(self) -> str:
        return f"gather-{self.number:06d}"

    def run(self) -> Counts:
        """Read, scale, and publish."""
        rids, numbers = (
            load_array(join(self.work, "embedding-rid.npy")),
            load_array(join(self.work, "embedding-number.npy")),
        )
        label, first = load_array(join(self.work, "label.npy")), load_array(join(self.work, "first.npy"))
        counts = {"embeddings": 0, "not_finite": 0, "zero": 0}
        dim = max(file.dim for file, _, _ in self.slices)
        with temporary_for(self.output) as path, temporary_for(self.output) as sample_path:
            writer = SpillWriter(path, self.partitions + 1, 2, max(dim, 1))
            sample = SpillWriter(sample_path, 1, 2, max(dim, 1))
            for start, values in self._read():
                begin, end = np.searchsorted(numbers, [start, start + len(values)])
                rid, at = np.array(rids[begin:end]), numbers[begin:end] - start
                unit, length = unit_rows(values)
                length, unit = length[at], unit[at].astype(np.float16)
                usable = np.isfinite(length) & (length > 0)
                counts["embeddings"] += int(usable.sum())
                counts["not_finite"] += int((~np.isfinite(length)).sum())
                counts["zero"] += int((length == 0).sum())
                rid, unit = rid[usable], unit[usable]
                code = label[rid].astype(np.int64)
                rows = Spilled(rid, np.stack([code, first[rid]], axis=1), unit)
                writer.write(rows, np.where(code >= 0, code % self.partitions, self.partitions))
                chosen = is_sampled(rid, self.sample_one_in)
                sample.write(Spilled(*(part[chosen] for part in rows)), np.zeros(int(chosen.sum()), np.int64))
            writer.close()
            sample.close()
            publish(sample_path, sample_file(self.work, self.number))
            publish(path, spill_file(self.work, self.number))
        return counts

    def _read(self) -> Iterator[tuple[int, np.ndarray]]:
        for file, start, stop in self.slices:
            yield from read_embedding_rows(file, start, stop)


def spill_file(work: str, number: int) -> str:
    """URL of the spill file of a gather task."""
    return join(work, "spill", f"rows-{number:06d}.arrow")


def sample_file(work: str, number: int) -> str:
    """URL of the sample of a gather task."""
    return join(work, "spill", f"sample-{number:06d}.arrow")


def is_sampled(rid: np.ndarray, one_in: int) -> np.ndarray:
    """Whether each row is in the sample; depends on its rid only, so the sample is the same however the work is
    divided."""
    mixed = rid.astype(np.uint64) * _ODD
    mixed ^= mixed >> np.uint64(29)
    return np.asarray((mixed * _ODD >> np.uint64(32)) % np.uint64(one_in) == 0)


def gather_tasks(
    output: str, work: str, files: Sequence[EmbeddingFile], partitions: int, sample_one_in: int
) -> list[GatherTask]:
    """All embeddings in tasks of about `ROWS_A_TASK`."""
    groups: list[list[tuple[EmbeddingFile, int, int]]] = [[]]
    room = ROWS_A_TASK
    for file in files:
        start = 0
        while file.dim and start < file.rows:
            if room == 0:
                groups.append([])
                room = ROWS_A_TASK
            stop = min(file.rows, start + room)
            groups[-1].append((file, start, stop))
            room -= stop - start
            start = stop
    return [
        GatherTask(output, work, number, tuple(group), partitions, sample_one_in)
        for number, group in enumerate(groups)
        if group
    ]
