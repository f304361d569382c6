"""One partition of identities: its centres, and the cosine of every image to its own centre."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fiqa_core.curation.findings.label_noise.identity_centres import Centres, robust_centres
from fiqa_core.curation.findings.label_noise.large_identity import MOST_VOTES, large_centre
from fiqa_core.curation.findings.partition_embeddings import spill_file
from fiqa_core.curation.findings.similarity import in_threads
from fiqa_core.curation.findings.spill_files import Spilled, SpillWriter, gathered, read_spilled
from fiqa_core.curation.findings.tasks import Counts, save_table
from fiqa_core.storage import join, open_read, publish, temporary_for

_ROWS_AT_ONCE = 16_384

OWN = pa.schema(
    [
        ("rid", pa.int64()),
        ("code", pa.int64()),
        ("cosine", pa.float32()),
        ("genuine", pa.float32()),
        ("kept", pa.bool_()),
        ("second", pa.bool_()),
    ]
)
IDENTITIES = pa.schema(
    [
        ("code", pa.int64()),
        ("judged", pa.int64()),
        ("votes", pa.int64()),
        ("coherence", pa.float32()),
        ("split_cosine", pa.float32()),
        ("split_coherence", pa.float32()),
    ]
)


@dataclass(frozen=True)
class CentreTask:
    """Spill files -> `centres`, `own` and `people` of one partition."""

    output: str
    work: str
    partition: int
    partitions: int
    spills: int
    threads: int

    @property
    def name(self) -> str:
        return f"centres-{self.partition:06d}"

    def run(self) -> Counts:
        """Find the centres and publish them."""
        rows = partition_rows(self.work, self.spills, self.partition, self.partitions)
        own: dict[str, list[np.ndarray]] = {name: [] for name in OWN.names}
        people: dict[str, list[np.ndarray]] = {name: [] for name in IDENTITIES.names}
        dim = rows.vector.shape[1] if rows is not None else 1
        with temporary_for(self.output) as path:
            writer = SpillWriter(path, 1, 1, dim)
            if rows is not None:
                slices = list(_identity_slices(rows.tag[:, 0]))
                found = in_threads(lambda at: _centres_of(rows, at), slices, self.threads)
                for at, centres in zip(slices, found, strict=True):
                    code = rows.tag[at, 0]
                    _add(own, people, rows.rid[at], code, centres)
                    codes = np.unique(code)
                    spilled = Spilled(codes, centres.votes[:, None], centres.centre.astype(np.float16))
                    writer.write(spilled, np.zeros(len(codes), np.int64))
            writer.close()
            save_table(_columns(own, OWN), OWN, self.output, own_file(self.work, self.partition))
            save_table(_columns(people, IDENTITIES), IDENTITIES, self.output, people_file(self.work, self.partition))
            publish(path, centre_file(self.work, self.partition))
        return {"judged": sum(map(len, own["rid"])), "judged_identities": sum(map(len, people["code"]))}


def partition_rows(work: str, spills: int, partition: int, partitions: int) -> Spilled | None:
    """All rows of a partition of identities, by identity and rid."""
    rows = gathered([spill_file(work, number) for number in range(spills)], partition, partitions + 1)
    if rows is None:
        return None
    if (np.diff(rows.tag[:, 0]) >= 0).all():
        return rows
    order = np.lexsort((rows.rid, rows.tag[:, 0]))
    return Spilled(rows.rid[order], rows.tag[order], rows.vector[order])


def centre_file(work: str, partition: int) -> str:
    """URL of a partition's centres (`rid` is the identity's number)."""
    return join(work, "centres", f"centres-{partition:06d}.arrow")


def own_file(work: str, partition: int) -> str:
    """URL of the cosines of a partition's images to their own centres."""
    return join(work, "centres", f"own-{partition:06d}.parquet")


def people_file(work: str, partition: int) -> str:
    """URL of the findings about a partition's identities."""
    return join(work, "centres", f"people-{partition:06d}.parquet")


def read_centres(work: str, start: int, stop: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The centres of some partitions, partition by partition: (codes int64 (m,), centres float16 (m, d))."""
    for partition in range(start, stop):
        rows = list(read_spilled([centre_file(work, partition)], None, 1))
        if rows:
            yield np.concatenate([part.rid for part in rows]), np.concatenate([part.vector for part in rows])


def read_columns(url: str, columns: list[str] | None = None) -> dict[str, np.ndarray]:
    """Columns of a small published table."""
    with open_read(url) as stream:
        table = pq.read_table(stream, columns=columns)
    return {name: table[name].to_numpy() for name in table.column_names}


def _identity_slices(code: np.ndarray) -> Iterator[slice]:
    """Whole identities, about `_ROWS_AT_ONCE` rows at a time; a very large identity alone."""
    edges = np.append(np.flatnonzero(np.diff(code, prepend=-1)), len(code)).tolist()
    begin = 0
    for start, end in itertools.pairwise(edges):
        if end - start > MOST_VOTES and start > begin:
            yield slice(begin, start)
            begin = start
        if end - begin >= _ROWS_AT_ONCE or end == len(code):
            yield slice(begin, end)
            begin = end


def _centres_of(rows: Spilled, at: slice) -> Centres:
    codes, segment = np.unique(rows.tag[at, 0], return_inverse=True)
    if len(codes) == 1 and len(segment) > MOST_VOTES:
        return large_centre(rows.vector[at], rows.tag[at, 1])
    return robust_centres(rows.vector[at], segment, rows.tag[at, 1])


def _add(
    own: dict[str, list[np.ndarray]],
    people: dict[str, list[np.ndarray]],
    rid: np.ndarray,
    code: np.ndarray,
    centres: Centres,
) -> None:
    codes, starts, judged = np.unique(code, return_index=True, return_counts=True)
    second = np.zeros(len(rid), bool)
    cosine, coherence = np.full((2, len(codes)), np.nan, np.float32)
    for number, groups in centres.groups.items():
        second[starts[number] : starts[number] + judged[number]] = groups.minority
        cosine[number], coherence[number] = groups.cosine, groups.coherence
    of_rows: list[np.ndarray] = [rid, code, centres.cosine, centres.genuine, centres.kept, second]
    for name, values in zip(OWN.names, of_rows, strict=True):
        own[name].append(values)
    known = ~np.isnan(centres.cosine)
    total = np.add.reduceat(np.where(known, centres.cosine, 0), starts)
    count = np.add.reduceat(known.astype(np.int64), starts)
    mean = np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)
    of_people: list[np.ndarray] = [codes, judged, centres.votes, mean, cosine, coherence]
    for name, column in zip(IDENTITIES.names, of_people, strict=True):
        people[name].append(column)


def _columns(values: dict[str, list[np.ndarray]], schema: pa.Schema) -> dict[str, Any]:
    return {
        name: np.concatenate(parts) if parts else np.empty(0, schema.field(name).type.to_pandas_dtype())
        for name, parts in values.items()
    }
