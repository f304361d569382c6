"""The worker's side of the scoring process: a `BatchScorer` whose network is in another process."""

import contextlib
import queue
import socket
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from fiqa_core.scoring.batch_scorer import BatchScorer, FaceBatch, Scores
from fiqa_core.scoring.service import launch
from fiqa_core.scoring.service.errors import ScoringProcessLostError, from_message
from fiqa_core.scoring.service.wire import Block, Shape, receive, send
from fiqa_core.wording import counted


class Session(BatchScorer):
    """One connection with its block; used by one thread at a time.

    Attributes:
        batch_size: images a batch. pixels: uint8 (batch_size, 112, 112, 3), in memory that the scoring process sees;
            a batch that is gathered there needs no copy.
    """

    computes_elsewhere = True

    def __init__(self, connection: socket.socket, hello: dict[str, Any]) -> None:
        self._connection = connection
        self._shape = Shape(**hello)
        self._block = Block.create(self._shape)
        self.batch_size = self._shape.batch
        self._pixels = self.pixels = self._block.pixels
        send(connection, {"batch": self.batch_size}, self._block.descriptor)
        receive(connection)

    def begin_batch(self, batch: FaceBatch) -> Callable[[], Scores]:
        """Hand over a batch, B up to `batch_size`; what is returned waits for its `Scores`, and must be called before
        the next batch.

        Raises:
            ScoringProcessLostError: the scoring process ended.
            ScoringProcessError: it could not score the batch.
        """
        count = len(batch.pixels)
        self._block.stored[:count] = batch.stored
        if batch.pixels.ctypes.data != self._pixels.ctypes.data:
            self._pixels[:count] = batch.pixels
        with _lost_with(count):
            send(self._connection, {"count": count})
        return lambda: self._scores(count)

    def score_batch(self, batch: FaceBatch) -> Scores:
        """The scores of a batch; errors as of `begin_batch`."""
        return self.begin_batch(batch)()

    def score_pixels(self, pixels: np.ndarray) -> Scores:
        """`Scores` of uint8 RGB (B, 112, 112, 3), B up to `batch_size`, of a scorer that looks at pixels only."""
        return self.score_batch(FaceBatch(pixels, np.zeros(len(pixels), np.int64)))

    def close(self) -> None:
        """Leave the scoring process."""
        self._connection.close()
        del self.pixels, self._pixels
        self._block.close()

    def _scores(self, count: int) -> Scores:
        with _lost_with(count):
            answer = receive(self._connection)
        if "error" in answer:
            raise from_message(answer)
        quality = self._block.quality[:count].copy() if self._shape.has_quality else None
        embedding = self._block.embedding[:count].copy() if self._shape.dim else None
        return Scores(quality, embedding)


@contextlib.contextmanager
def _lost_with(count: int) -> Iterator[None]:
    """Name the size of the batch that was lost with a broken connection."""
    try:
        yield
    except (OSError, TimeoutError) as error:
        raise ScoringProcessLostError(
            f"the scoring process ended, or was killed, while it had a batch of {counted(count, 'image')} ({error})"
        ) from error


class RemoteScorer(BatchScorer):
    """Scores batches in the scoring process of a device, which is started when there is none. Thread-safe.

    Args:
        place: which scoring process. source: makes its scorer, there.
    """

    computes_elsewhere = True

    def __init__(self, place: launch.Place, source: Any) -> None:
        self._place = place
        self._source = source
        self._idle: queue.SimpleQueue[Session] = queue.SimpleQueue()
        with self.session() as session:  # now, so that an error at its start is raised before any unit is read
            self.batch_size = session.batch_size

    @contextlib.contextmanager
    def session(self) -> Iterator[Session]:
        """A connection for the use of one thread; kept for the next one unless it broke."""
        try:
            session = self._idle.get_nowait()
        except queue.Empty:
            session = Session(*launch.connect(self._place, self._source))
        try:
            yield session
        except BaseException:
            session.close()
            raise
        self._idle.put(session)

    def score_pixels(self, pixels: np.ndarray) -> Scores:
        """`Scores` of uint8 RGB (B, 112, 112, 3), B up to `batch_size`."""
        with self.session() as session:
            return session.score_pixels(pixels)

    def score_batch(self, batch: FaceBatch) -> Scores:
        """`Scores` of a batch, B up to `batch_size`."""
        with self.session() as session:
            return session.score_batch(batch)
