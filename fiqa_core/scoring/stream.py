"""The inner stages of scoring as plain generators: records -> prepared rows -> batches -> scored rows."""

import hashlib
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import cycle
from operator import itemgetter
from typing import NamedTuple

import numpy as np

from fiqa_core.ahead import ahead
from fiqa_core.alignment.aligner import AlignedFace, Aligner
from fiqa_core.alignment.choice import FaceRule
from fiqa_core.alignment.crops import Crop, make_crops
from fiqa_core.alignment.prepared import prepare_aligned
from fiqa_core.alignment.settings import CropSettings
from fiqa_core.images.components import component_measures
from fiqa_core.images.decode import ImageLimits, ImageRejected
from fiqa_core.images.phash import perceptual_hash
from fiqa_core.images.preprocess import ChannelOrder, Prepared, prepare
from fiqa_core.images.quantisation import quantisation_step
from fiqa_core.images.thumbnail import thumbnail
from fiqa_core.in_flight import in_flight
from fiqa_core.scoring.batch_scorer import BatchScorer, FaceBatch, Scores
from fiqa_core.scoring.settings import ScoreSettings
from fiqa_core.shards.unit import Record
from fiqa_core.wording import counted
from schemas.reasons import Status

_CHUNK = 32  # records in a decoding task: large enough that the overhead of a task is small
_CHUNK_BYTES = 4 << 20  # or fewer, where images are large
_SESSIONS = 2  # batches of one reader that the scoring process may have at a time
_BYTES_IN_FLIGHT = 64 << 20  # stored bytes that wait to be decoded, or are; one chunk more while it is read
SIDE = 112


class Row:
    """One row of the quality table while it is made; `pixels` are dropped as soon as they are scored."""

    __slots__ = (
        "crop_keys",
        "crops",
        "embedding",
        "face",
        "height",
        "measures",
        "message",
        "phash",
        "pixels",
        "quality",
        "quantisation",
        "record",
        "sha256",
        "status",
        "stored",
        "thumb",
        "width",
    )

    def __init__(self, record: Record) -> None:
        self.record = record
        self.status: Status = Status.SCORED
        self.message: str | None = record.note
        self.quality: float | None = None
        self.width: int | None = None
        self.height: int | None = None
        self.sha256: bytes | None = record.sha256
        self.phash: int | None = None
        self.thumb: bytes | None = None
        self.stored = None if record.data is None else len(record.data)  # bytes
        self.quantisation: float | None = None
        self.pixels: np.ndarray | None = None
        self.embedding: np.ndarray | None = None
        self.measures: np.ndarray | None = None
        self.face: AlignedFace | None = None
        self.crops: list[Crop] = []
        self.crop_keys: list[str] = []


class Preparation(NamedTuple):
    """How a record is made ready for the network; made of the settings once, not for every record."""

    limits: ImageLimits
    channel_order: ChannelOrder
    phash: bool
    aligner: Aligner | None = None
    crops: CropSettings | None = None

    @classmethod
    def of(cls, settings: ScoreSettings, aligner: Aligner | None) -> "Preparation":
        """As the settings say; `aligner`: what they say of alignment, ready for use."""
        limits = ImageLimits(settings.min_side, settings.max_side, settings.max_pixels)
        return cls(limits, ChannelOrder(settings.channel_order), settings.phash, aligner, settings.crops)


def prepare_row(record: Record, preparation: Preparation) -> Row:
    """Hash, decode and (with an aligner) align one record; a fault of the record becomes the row's status."""
    row = Row(record)
    if record.data is not None:
        row.sha256 = hashlib.sha256(record.data).digest()
    if record.fault is not None:
        row.status, row.message = record.fault
    elif record.data is None:
        row.status, row.message = Status.MISSING_IMAGE, "the record holds no image"
    else:
        try:
            prepared = _prepared(row, record.data, preparation)
            row.pixels, row.width, row.height = prepared.pixels, prepared.width, prepared.height
            row.quantisation = quantisation_step(record.data)
            if preparation.phash:
                row.phash, row.thumb = perceptual_hash(prepared.pixels), thumbnail(prepared.pixels)
        except ImageRejected as error:
            row.status, row.message = error.status, error.message
            row.width, row.height = error.width, error.height
    # The stored bytes are not needed any more; a batch must not hold them beside its pixels.
    row.record = Record._make((*record[:3], None, *record[4:]))  # `_replace` takes twice as long
    return row


def _prepared(row: Row, data: bytes, preparation: Preparation) -> Prepared:
    """Network input of the stored image; what is known of its face goes to the row."""
    limits, channel_order, _, aligner, crops = preparation
    if aligner is None:
        return prepare(data, limits, channel_order)
    prepared, faces = prepare_aligned(data, limits, channel_order, aligner)
    row.face = faces[0]._replace(pixels=None)
    if crops is not None:
        row.crops = make_crops(faces, data, crops, aligner.rule is FaceRule.ALL)
        row.status = Status.ALIGNED
        if aligner.rule is FaceRule.ALL and len(faces) < faces[0].found:
            row.message = f"the surest {len(faces)} of {faces[0].found} faces were written"
    return prepared


def prepare_rows(
    records: Iterable[Record], settings: ScoreSettings, threads: int, aligner: Aligner | None = None
) -> Iterator[Row]:
    """Rows in the records' order, decoded by `threads` threads with a bounded number, and bounded bytes, in flight."""
    preparation = Preparation.of(settings, aligner)

    def prepare_chunk(chunk: tuple[list[Record], int]) -> list[Row]:
        return [prepare_row(record, preparation) for record in chunk[0]]

    if threads <= 1:
        for record in records:
            yield prepare_row(record, preparation)
        return
    chunks = in_flight(_chunks(records), prepare_chunk, threads, itemgetter(1), _BYTES_IN_FLIGHT, name="decode")
    for rows in chunks:
        yield from rows


def batches(rows: Iterable[Row], batch_size: int) -> Iterator[list[Row]]:
    """Lists of rows with up to `batch_size` images to score, and at most four times as many rows."""
    batch: list[Row] = []
    images = 0
    for row in rows:
        batch.append(row)
        images += row.pixels is not None
        if images == batch_size or len(batch) == 4 * batch_size:
            yield batch
            batch, images = [], 0
    if batch:
        yield batch


def score_batch(
    batch: list[Row], scorer: BatchScorer, pixels: np.ndarray, embedding_type: str = "float32"
) -> list[Row]:
    """Fill in quality and embedding of the rows that have pixels, as far as the scorer gives them.

    A row whose quality or embedding (in `embedding_type`) is not finite gets neither, and a status that says so.

    `pixels`: uint8 (B, 112, 112, 3), where the batch is gathered. New memory for each batch would cost more than the
    gathering: it is returned to the system every time and mapped again page by page.
    """
    return begin_batch(batch, scorer, pixels, embedding_type)()


def begin_batch(
    batch: list[Row],
    scorer: BatchScorer,
    pixels: np.ndarray,
    embedding_type: str = "float32",
    measures: bool = False,
) -> Callable[[], list[Row]]:
    """As `score_batch`, but what is returned waits for the scores; `pixels` are in use until then. `measures`: fill in
    the component measures too.

    A scorer that computes elsewhere works meanwhile; any other, which threads may share, computes before this returns.
    """
    usable = [row for row in batch if row.pixels is not None]
    if not usable:
        return lambda: batch
    gathered = pixels[: len(usable)]
    # The images are stacked along the first axis, as they are in memory; `np.stack` would make a view of each first.
    np.concatenate([row.pixels for row in usable if row.pixels is not None], out=gathered.reshape(-1, SIDE, 3))
    for row in usable:
        row.pixels = None
    images = FaceBatch(gathered, np.array([row.stored for row in usable], np.int64))
    scores_of = scorer.begin_batch(images) if scorer.computes_elsewhere else _at_once(scorer.score_batch(images))
    if measures:
        for row, measured in zip(usable, component_measures(gathered), strict=True):
            row.measures = measured

    def finish() -> list[Row]:
        _fill_in(usable, scores_of(), embedding_type)
        return batch

    return finish


def _at_once(scores: Scores) -> Callable[[], Scores]:
    return lambda: scores


def _fill_in(rows: Sequence[Row], scores: Scores, embedding_type: str) -> None:
    for outputs in (scores.quality, scores.embedding):
        if outputs is not None and len(outputs) != len(rows):
            raise RuntimeError(f"the scorer gave {len(outputs)} scores for {counted(len(rows), 'image')}")
    embedding = None if scores.embedding is None else _narrowed(scores.embedding, embedding_type)
    for place, row in enumerate(rows):
        quality = None if scores.quality is None else float(scores.quality[place])
        if quality is not None and not math.isfinite(quality):
            row.status, row.message = Status.NON_FINITE, f"the network's score is {quality}"
        elif embedding is not None and not np.isfinite(embedding[place]).all():
            row.status, row.message = Status.NON_FINITE, f"the network's embedding is not finite in {embedding_type}"
        else:
            row.quality = quality
            row.embedding = None if embedding is None else embedding[place]


def _narrowed(embedding: np.ndarray, embedding_type: str) -> np.ndarray:
    with np.errstate(over="ignore"):  # values beyond float16 become infinite, and the row's status says so
        return embedding.astype(embedding_type, copy=False)


def score_records(
    records: Iterable[Record],
    scorer: BatchScorer,
    settings: ScoreSettings,
    threads: int = 1,
    aligner: Aligner | None = None,
) -> Iterator[list[Row]]:
    """Score records in order; reading, decoding and aligning run beside the network, a few batches ahead.

    A scorer that computes elsewhere is asked for `_SESSIONS` sessions, for the whole of these records. Batches are
    gathered in their `pixels` in turn, so that one is with the scorer while the rows of another are made and written.
    """
    with ExitStack() as stack:
        count = _SESSIONS if scorer.computes_elsewhere else 1
        scorers = [stack.enter_context(scorer.session()) for _ in range(count)]
        yield from _scored(records, scorers, settings, threads, aligner)


def _scored(
    records: Iterable[Record],
    scorers: Sequence[BatchScorer],
    settings: ScoreSettings,
    threads: int,
    aligner: Aligner | None,
) -> Iterator[list[Row]]:
    batch_size = scorers[0].batch_size  # a scorer that runs out of memory halves its own, and cuts batches itself
    places = cycle([(scorer, _place(scorer, batch_size)) for scorer in scorers])
    embedding_type = "float32" if settings.embeddings == "none" else settings.embeddings
    prepared = ahead(batches(prepare_rows(records, settings, threads, aligner), batch_size), depth=2)
    under_way: deque[Callable[[], list[Row]]] = deque()
    try:
        for batch in prepared:
            under_way.append(begin_batch(batch, *next(places), embedding_type, settings.measures))
            if len(under_way) == len(scorers):  # the next batch needs the place of the oldest one
                yield under_way.popleft()()
        while under_way:
            yield under_way.popleft()()
    finally:
        prepared.close()


def _place(scorer: BatchScorer, batch_size: int) -> np.ndarray:
    """Where the batches of a scorer are gathered: its own `pixels`, if it has any."""
    return np.empty((batch_size, SIDE, SIDE, 3), np.uint8) if scorer.pixels is None else scorer.pixels


def _chunks(records: Iterable[Record]) -> Iterator[tuple[list[Record], int]]:
    """Records in chunks, each with its stored bytes."""
    chunk: list[Record] = []
    size = 0
    for record in records:
        chunk.append(record)
        size += len(record.data or b"")
        if len(chunk) == _CHUNK or size >= _CHUNK_BYTES:
            yield chunk, size
            chunk, size = [], 0
    if chunk:
        yield chunk, size
