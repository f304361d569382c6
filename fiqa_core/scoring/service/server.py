"""The scoring process: takes batches out of its workers' memory, and writes the scores back there."""

import contextlib
import logging
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fiqa_core.scoring.batch_scorer import BatchScorer, FaceBatch, Scores
from fiqa_core.scoring.process import tune_process
from fiqa_core.scoring.service.errors import to_message
from fiqa_core.scoring.service.pinning import Pinned
from fiqa_core.scoring.service.wire import Block, PeerError, Shape, receive, receive_with_descriptor, same_user, send

_log = logging.getLogger(__name__)

LINGER_S = 5.0  # after the last worker left: the next one may be on its way
FIRST_S = 60.0  # for the first to come
_IN_FLIGHT = 3  # batches: one that is computed, one that is copied, one whose scores are read
_MESSAGE_S = 30.0  # a worker writes a message at once, or was stopped in the middle of it

Result = Callable[[], Scores]


class _Worker:
    """One connection: its socket, and its block once that has come."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.block: Block | None = None
        self.pinned: Pinned | None = None

    def close(self) -> None:
        if self.pinned is not None:
            self.pinned.release()
            self.pinned = None
        if self.block is not None:
            block, self.block = self.block, None
            block.close()
        self.connection.close()


class _Pending(NamedTuple):
    """A batch under way: `result` waits for its `Scores`."""

    worker: _Worker
    images: int
    result: Result


def serve(listener: socket.socket, device: str, load: Callable[[], BatchScorer]) -> None:
    """Load the scorer and answer workers until none is left; if it cannot be loaded, send them the reason.

    Args:
        listener: a bound, listening socket. device: the name of the device, for the log.
        load: makes the scorer.
    """
    tune_process()
    try:
        scorer = load()
        hello = shape_of(scorer).to_dict()
    except Exception as error:
        _log.warning("the scoring process of %s cannot start: %s", device, error)
        _refuse(listener, to_message(error))
        return
    server = _Server(listener, scorer, hello)
    before = time.process_time()
    server.run()
    spent = time.process_time() - before
    _log.info("the scoring process of %s ends, no worker is left: %d images, %.2f CPU s", device, server.images, spent)


def shape_of(scorer: BatchScorer) -> Shape:
    """The shape of a scorer's batches and outputs, found by scoring one grey image."""
    found = scorer.score_batch(FaceBatch(np.full((1, 112, 112, 3), 127, np.uint8), np.ones(1, np.int64)))
    dim = 0 if found.embedding is None else int(found.embedding.shape[1])
    return Shape(int(scorer.batch_size), dim, found.quality is not None)


def _refuse(listener: socket.socket, message: dict[str, Any]) -> None:
    """Send every worker that connects within a few seconds the reason why there is no scoring process."""
    listener.settimeout(LINGER_S)
    with contextlib.suppress(TimeoutError):
        while True:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                if same_user(connection):
                    send(connection, message)


class _Server:
    """One thread: batches are begun as they come, up to `_IN_FLIGHT` ahead of the scores that are waited for."""

    def __init__(self, listener: socket.socket, scorer: BatchScorer, hello: dict[str, Any]) -> None:
        self._listener = listener
        self._scorer = scorer
        self._hello = hello
        self._shape = Shape(**hello)
        self._selector = selectors.DefaultSelector()
        self._workers: set[_Worker] = set()
        self._pending: deque[_Pending] = deque()
        self.images = 0

    def run(self) -> None:
        """Serve until no worker is left."""
        self._selector.register(self._listener, selectors.EVENT_READ)
        leave_at = time.monotonic() + FIRST_S
        while self._workers or time.monotonic() < leave_at:
            had_workers = bool(self._workers)
            ready = self._selector.select(0 if self._pending else 1.0)
            for key, _ in ready:
                if key.data is None:
                    self._accept()
                else:
                    self._request(key.data)
                while len(self._pending) >= _IN_FLIGHT:
                    self._finish_oldest()
            if not ready and self._pending:
                self._finish_oldest()
            if had_workers and not self._workers:
                leave_at = time.monotonic() + LINGER_S
        self._listener.close()

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        connection.settimeout(_MESSAGE_S)
        worker = _Worker(connection)
        try:
            if not same_user(connection):
                raise PeerError("a process of another user connected")
            send(connection, self._hello)
        except (OSError, PeerError) as error:
            _log.warning("a worker was turned away: %s", error)
            worker.close()
            return
        self._workers.add(worker)
        self._selector.register(connection, selectors.EVENT_READ, worker)

    def _request(self, worker: _Worker) -> None:
        try:
            if worker.block is None:
                _, descriptor = receive_with_descriptor(worker.connection)
                worker.block = Block.received(descriptor, self._shape)
                worker.pinned = Pinned(worker.block.memory) if self._scorer.reads_later else None
                send(worker.connection, {"ready": True})
                return
            message = receive(worker.connection)
            count = message.get("count")
            if not isinstance(count, int) or not 0 < count <= self._shape.batch:
                raise PeerError(f"a batch of {count!r} images was announced; blocks hold {self._shape.batch}")
        except (OSError, PeerError) as error:
            self._drop(worker, error)
            return
        try:
            block = worker.block
            batch = FaceBatch(block.pixels[:count], block.stored[:count].copy())
            self._pending.append(_Pending(worker, count, self._scorer.begin_batch(batch)))
        except Exception as error:
            self._failed(worker, error)

    def _finish_oldest(self) -> None:
        worker, count, result = self._pending.popleft()
        try:
            scores = result()
            if worker.block is None:
                return  # it left while its batch was under way
            if scores.quality is not None:
                worker.block.quality[:count] = scores.quality
            if scores.embedding is not None:
                worker.block.embedding[:count] = scores.embedding
        except Exception as error:
            self._failed(worker, error)
            return
        self.images += count
        self._answer(worker, {"count": count})

    def _failed(self, worker: _Worker, error: Exception) -> None:
        """Send the error to the worker. After a fault of the device this process ends: nothing works there then."""
        if "CUDA error" in str(error):
            _log.error("the device failed, so this scoring process ends; a new one is started: %s", error)
            raise SystemExit(1) from error
        self._answer(worker, to_message(error))

    def _answer(self, worker: _Worker, message: dict[str, Any]) -> None:
        if worker in self._workers:
            try:
                send(worker.connection, message)
            except OSError as error:
                self._drop(worker, error)

    def _drop(self, worker: _Worker, error: Exception) -> None:
        """Drop a worker, after waiting for its batches: the device may still read its memory."""
        if not isinstance(error, ConnectionError):
            _log.warning("a worker was dropped: %s", error)
        for pending in [each for each in self._pending if each.worker is worker]:
            with contextlib.suppress(Exception):
                pending.result()
            self._pending.remove(pending)
        self._workers.discard(worker)
        self._selector.unregister(worker.connection)
        worker.close()
