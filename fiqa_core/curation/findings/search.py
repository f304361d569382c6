"""The search for label noise and near duplicates in a whole dataset, stage by stage."""

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fiqa_core.curation.findings.embedding_join import match_embeddings
from fiqa_core.curation.findings.label_noise.centre_task import CentreTask
from fiqa_core.curation.findings.label_noise.thresholds import ThresholdTask, read_thresholds
from fiqa_core.curation.findings.label_noise.verdicts import JudgeTask, found_file
from fiqa_core.curation.findings.near_duplicates.cosine_pairs import PairTask
from fiqa_core.curation.findings.near_duplicates.kmeans_cells import AssignTask, TrainTask, number_of_cells
from fiqa_core.curation.findings.near_duplicates.phash_pairs import PhashTask
from fiqa_core.curation.findings.near_duplicates.thumbnails import COLUMN, have_thumbnails, publish_thumbnails
from fiqa_core.curation.findings.partition_embeddings import gather_tasks
from fiqa_core.curation.findings.rows import Rows, publish_rows, read_rows
from fiqa_core.curation.findings.search_result import (
    DONE,
    FOLDER,
    WORK,
    SearchResult,
    publish_result,
    read_done,
    remove_other_searches,
)
from fiqa_core.curation.findings.settings import FindingsSettings, LabelNoiseSettings, NearSettings
from fiqa_core.curation.findings.tasks import Counts, RunStage, Task, save_array, save_table
from fiqa_core.images.thumbnail import THUMBNAIL_BYTES
from fiqa_core.storage import join, open_read, remove, stat
from fiqa_core.tables.embedding_files import EmbeddingFile, EmbeddingSource, embedding_files
from fiqa_core.tables.quality_files import TableError, TableFile, label_digests
from schemas import identities

_log = logging.getLogger(__name__)

_SAMPLE = 65_536


@dataclass(frozen=True)
class Search:
    """One search: tables, embeddings, settings, and output folder. `own`: smaller rids belong to the dataset."""

    parts: tuple[TableFile, ...]
    own: int
    source: EmbeddingSource | None
    settings: FindingsSettings
    output: str
    threads: int = 1


def find(search: Search, run_stage: RunStage) -> SearchResult:
    """Do a search, or the rest of a search that was interrupted.

    Files are published whole, under names that depend on the input and the settings only, and files that exist are
    kept: the same search gives the same files on any number of workers, however often it is interrupted. Files of
    other searches in the same output are removed.

    Raises:
        TableError: tables or embeddings that cannot be used; the message says which.
    """
    files = embedding_files(search.source, search.parts) if search.source is not None else ()
    digest = search_digest(search)
    work, folder = join(search.output, WORK, digest), join(search.output, FOLDER)
    remove_other_searches(search.output, digest)
    done = join(folder, DONE)
    if stat(done) is not None:
        remove(join(search.output, WORK))
        return read_done(done)
    near = _settled(search)
    rows = read_rows(search.parts, search.own, phash=near is not None and near.by in ("phash", "either"))
    publish_rows(rows, search.output, work)
    counts: Counts = {}
    labels: list[str] = []
    pairs: list[str] = []
    identity_file = ""
    thresholds = None
    if search.source is not None:
        stages = _Stages(search, files, rows, work, digest, run_stage)
        counts |= stages.counts
        if search.settings.labels is not None:
            labels, identity_file, found = stages.label_noise(search.settings.labels)
            counts |= found
            thresholds = read_thresholds(work)
        if near is not None and near.by != "phash":
            pairs, found = stages.near_pairs(near)
            counts |= found
    if near is not None and near.by in ("phash", "either"):
        more, found = _phash(search, near, rows, work, digest, run_stage)
        pairs += more
        counts["pairs_left_out"] = counts.get("pairs_left_out", 0) + found.pop("pairs_left_out")
        counts |= found
    if counts.get("pairs_left_out"):
        _log.warning(
            "near duplicates: %s candidates were not compared (a row is compared with its nearest %d), so that some "
            "copies may stay",
            f"{counts['pairs_left_out']:,}",
            near.most if near is not None else 0,
        )
    result = SearchResult(tuple(labels), tuple(pairs), identity_file, counts, thresholds)
    publish_result(result, search.output, digest)
    remove(join(search.output, WORK))
    return result


class _Stages:
    """The stages that work on embeddings. The first one sorts these into partitions by identity."""

    def __init__(
        self, search: Search, files: Sequence[EmbeddingFile], rows: Rows, work: str, digest: str, run_stage: RunStage
    ) -> None:
        if search.source is None:
            raise ValueError("no embeddings to gather")
        self._search, self._rows, self._work, self._digest, self._run = search, rows, work, digest, run_stage
        number, rid, self.counts = match_embeddings(search.source, files, search.parts, rows)
        save_array(number, search.output, join(work, "embedding-number.npy"))
        save_array(rid, search.output, join(work, "embedding-rid.npy"))
        self._bytes = len(rid) * max(file.dim for file in files) * 2
        self._partitions = self._partitions_of(self._bytes)
        one_in = max(1, -(-len(rid) // _SAMPLE))
        tasks = gather_tasks(search.output, work, files, self._partitions, one_in)
        self._spills = len(tasks)
        self.counts |= run_stage("gather", tasks)
        if self.counts["not_finite"] or self.counts["zero"] or self.counts["without_embedding"]:
            _log.warning(
                "scored rows that are not judged: %d without an embedding, %d with NaN or infinity in it, %d "
                "with zeros alone",
                *(self.counts[name] for name in ("without_embedding", "not_finite", "zero")),
            )
        if not self.counts["embeddings"]:
            raise TableError(f"{files[0].url}: not one usable embedding (all are missing, NaN or zero).")

    def label_noise(self, settings: LabelNoiseSettings) -> tuple[list[str], str, Counts]:
        """Centres, thresholds, verdicts; URLs of the labels and of the identities."""
        output, work, threads = self._search.output, self._work, self._search.threads
        partitions = self._partitions
        counts = self._run(
            "centres",
            [CentreTask(output, work, number, partitions, self._spills, threads) for number in range(partitions)],
        )
        quality = self._rows.quality[: self._rows.own]
        known = quality[np.isfinite(quality)]
        poor = float(np.quantile(known, settings.poor_quantile)) if len(known) else float("-inf")
        counts |= self._run("thresholds", [ThresholdTask(output, work, partitions, self._spills, settings, poor)])
        if not np.isfinite(read_thresholds(work).suspect):
            _log.warning("too few identities to find a threshold for label noise: give one as a cosine")
        urls = [self._url("labels", number) for number in range(partitions)]
        counts |= self._run(
            "judge",
            [
                JudgeTask(
                    output, work, urls[number], number, partitions, self._spills, threads, settings.recognised_cosine
                )
                for number in range(partitions)
            ],
        )
        identity_file = join(output, FOLDER, "identities.parquet")
        _write_identities(self._rows, work, partitions, output, identity_file)
        return urls, identity_file, counts

    def near_pairs(self, settings: NearSettings) -> tuple[list[str], Counts]:
        """Cells and the pairs inside them; URLs of the pairs."""
        output, work, threads = self._search.output, self._work, self._search.threads
        if settings.by == "picture":
            publish_thumbnails(self._search.parts, output, work)
        cells = number_of_cells(self.counts["embeddings"], settings.exact_up_to)
        if cells > 1:
            self._run("cells", [TrainTask(output, work, self._spills, cells, threads)])
            size = self._bytes + (self.counts["embeddings"] * THUMBNAIL_BYTES if settings.by == "picture" else 0)
            groups = self._partitions_of(size * min(settings.probes, cells))
        else:
            groups = 1
        counts = self._run(
            "assign",
            [
                AssignTask(output, work, number, groups, cells, settings.probes, threads)
                for number in range(self._spills)
            ],
        )
        urls = [self._url("pairs", number) for number in range(groups)]
        own = self._rows.own
        counts |= self._run(
            "pairs",
            [
                PairTask(output, work, url, number, groups, cells, self._spills, own, settings, threads)
                for number, url in enumerate(urls)
            ],
        )
        return urls, counts | {"cells": cells}

    def _url(self, kind: str, number: int) -> str:
        return join(self._search.output, FOLDER, f"{kind}-{number:06d}-{self._digest}.parquet")

    def _partitions_of(self, size: int) -> int:
        return max(1, -(-size // (self._search.settings.memory_mib << 20)))


def _settled(search: Search) -> NearSettings | None:
    near = search.settings.near
    if near is None:
        return None
    has_thumbnails = have_thumbnails(search.parts)
    if near.by == "picture" and not has_thumbnails:
        url = next(part.url for part in search.parts if COLUMN not in part.columns)
        raise TableError(
            f"{url}: no thumbnails (column `{COLUMN}`). Score with --phash, or look for near duplicates by cosine."
        )
    near = near.settled(has_thumbnails)
    if near.by == "cosine" and search.settings.near != near:
        _log.info("near duplicates by cosine alone: not every table has thumbnails (score with --phash)")
    return near


def _phash(
    search: Search, settings: NearSettings, rows: Rows, work: str, digest: str, run_stage: RunStage
) -> tuple[list[str], Counts]:
    without = next((part for part in search.parts if "phash" not in part.columns), None)
    if rows.phash is None or without is not None:
        raise TableError(
            f"{(without or search.parts[0]).url}: no perceptual hashes (column `phash`). Score with --phash, or look "
            "for near duplicates by cosine."
        )
    bands = range(settings.most_bits + 1)
    urls = [join(search.output, FOLDER, f"pairs-phash-{band:06d}-{digest}.parquet") for band in bands]
    tasks: list[Task] = [
        PhashTask(search.output, work, url, band, search.own, settings) for band, url in enumerate(urls)
    ]
    return urls, run_stage("phash", tasks)


def _write_identities(rows: Rows, work: str, partitions: int, output: str, url: str) -> None:
    """The identities of all partitions in order, and those without any embedding."""
    tables = []
    for number in range(partitions):
        with open_read(found_file(work, number)) as stream:
            tables.append(pq.read_table(stream))
    found = pa.concat_tables(tables)
    missing = np.setdiff1d(np.arange(len(rows.names)), found["code"].to_numpy())
    none = [{"code": int(code), "judged": 0, "outliers": 0, "is_split": False} for code in missing]
    found = pa.concat_tables([found, pa.Table.from_pylist(none, schema=found.schema)]).sort_by("code")
    columns = {name: found[name] for name in identities.COLUMNS if name in found.column_names}
    columns |= {
        "label": rows.names.take(found["code"].combine_chunks()),
        "images": rows.images[found["code"].to_numpy()],
        "merge_with": rows.names.take(found["merge_code"].combine_chunks()),
    }
    save_table({name: columns[name] for name in identities.COLUMNS}, identities.SCHEMA, output, url)


def search_digest(search: Search) -> str:
    """12 hexadecimal digits of everything that decides the result: tables and embeddings as they are now, and settings.

    Raises:
        TableError: tables or embeddings that cannot be used.
    """
    files = embedding_files(search.source, search.parts) if search.source is not None else ()
    seen = []
    for url in [*(part.url for part in search.parts), *(file.url for file in files)]:
        held = stat(url)
        seen.append([url, held.version if held is not None else ""])
    seen += [["labels", digest] for digest in label_digests(search.parts)]
    source = asdict(search.source) if search.source is not None else None
    text = json.dumps([seen, search.own, source, search.settings.digest()], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
