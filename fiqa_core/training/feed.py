"""Batches from worker processes: one process reads, others decode and augment into shared memory.

    reader --(stored images, a few at a time)--> decoders --(rows in shared memory)--> the process that trains

The reader draws the images in the order of the sequence and sends them to the decoders in turn; all decoders fill rows
of the same batch. It does not matter which process fills a row. `_SLOTS` batches are in memory: the reader waits until
one of them is taken, so memory stays flat. The processes continue from one epoch to the next.

They hold the reading end of a pipe whose writing end only the training process has: when that process ends for any
reason, they end too. The shared memory has no name. torch's DataLoader was not used: each of its workers would read and
shuffle all shards (or the training process would read for them), and load torch.
"""

import itertools
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

from fiqa_core.training.errors import TrainingError
from fiqa_core.training.making import RowMaker
from fiqa_core.training.rows import Rows, shared_memory
from fiqa_core.training.sequence import BatchSequence

_SLOTS = 4
_END_S = 5.0

Taken = TypeVar("Taken")


@dataclass(frozen=True)
class _Worker:
    name: str
    process: "subprocess.Popen[bytes]"
    control: Connection


@dataclass
class _Running:
    """The worker processes, and the progress of each batch. Steps are counted from the first one after their start."""

    workers: list[_Worker]
    slots: list[Rows]
    rows_done: dict[int, int]
    count: int = 0
    failure: tuple[int, BaseException] | None = None


class Feed:
    """The batches of a sequence, made by `workers` processes and one more that reads.

    The processes start with the first batch that is requested. They start again if the next request is not for the
    following batch. They end with `close`, with this object, or with this process.
    """

    def __init__(
        self, sequence: BatchSequence, maker: RowMaker, batch: int, steps_per_epoch: int, workers: int
    ) -> None:
        self._sequence, self._maker = sequence, maker
        self._batch, self._steps, self._count = batch, steps_per_epoch, workers
        self._running: _Running | None = None
        self._next = (0, 0)
        self._end: Callable[[], Any] = lambda: None

    def batches(self, epoch: int, skip: int, take: Callable[[Rows], Taken]) -> Iterator[Taken]:
        """The results of `take` for the rows of each batch of an epoch, in order.

        Args:
            take: must copy what it keeps; the rows are overwritten afterwards.

        Raises:
            TrainingError: a worker process is gone.
            Exception: the error that stopped the reader, as it was raised there.
        """
        for step in range(skip, self._steps):
            if self._next != (epoch, step):
                self.close()
            running = self._running or self._started(epoch, step)
            self._wait_for(running)
            taken = take(running.slots[running.count % _SLOTS])
            with suppress(OSError):  # a reader that is gone is reported when its rows are missing
                running.workers[0].control.send(None)
            running.count += 1
            self._next = (epoch, step + 1) if step + 1 < self._steps else (epoch + 1, 0)
            yield taken

    def close(self) -> None:
        """End the processes, and release their memory."""
        self._end()
        self._running = None

    @property
    def process_ids(self) -> list[int]:
        """The process ids; the reader comes first."""
        return [worker.process.pid for worker in self._running.workers] if self._running else []

    def _started(self, epoch: int, skip: int) -> _Running:
        lifeline, ours = os.pipe()
        workers: list[_Worker] = []
        # From here on any error ends the processes again.
        self._end = weakref.finalize(self, _ended, workers, ours)
        self._next = (epoch, skip)
        passed = [lifeline]
        try:
            memory = [shared_memory(self._batch) for _ in range(_SLOTS)]
            passed += memory
            queues = [os.pipe() for _ in range(self._count)]
            passed += itertools.chain(*queues)
            incoming, outgoing = zip(*queues, strict=True)
            workers.append(_start("reader", lifeline, outgoing))
            for number, queue in enumerate(incoming):
                workers.append(_start(f"decoder {number}", lifeline, [queue, *memory]))
            self._running = _Running(workers, [Rows.shared(descriptor, self._batch) for descriptor in memory], {})
            _tell(workers[0], (outgoing, self._sequence, epoch, skip, _SLOTS))
            for worker, queue in zip(workers[1:], incoming, strict=True):
                _tell(worker, (queue, memory, self._batch, self._maker))
        except BaseException:
            self.close()
            raise
        finally:
            for descriptor in passed:
                os.close(descriptor)
        return self._running

    def _wait_for(self, running: _Running) -> None:
        """Wait until all rows of the next batch are there."""
        while running.rows_done.get(running.count, 0) < self._batch:
            # An error further on belongs to a later batch, which may never be requested.
            if running.failure is not None and running.failure[0] <= running.count:
                self.close()
                raise running.failure[1]
            try:
                _hear(running)
            except TrainingError:
                self.close()
                raise
        del running.rows_done[running.count]


def _start(name: str, lifeline: int, descriptors: Sequence[int]) -> _Worker:
    """A new interpreter, not a fork: CUDA and threads live in this process."""
    here, there = multiprocessing.Pipe()
    with there:
        process = subprocess.Popen(
            [sys.executable, "-m", "fiqa_core.training.feed_process", str(there.fileno()), str(lifeline)],
            stdin=subprocess.DEVNULL,
            pass_fds=[there.fileno(), lifeline, *descriptors],
            start_new_session=True,  # Ctrl-C is handled by the training process, which ends with a checkpoint
            env=os.environ
            | {"PYTHONPATH": os.pathsep.join(path or os.curdir for path in sys.path), "OMP_NUM_THREADS": "1"},
        )
    return _Worker(name, process, here)


def _tell(worker: _Worker, task: Any) -> None:
    try:
        worker.control.send(task)
    except OSError as error:
        raise _gone(worker) from error


def _hear(running: _Running) -> None:
    """Wait for a message of any process, and handle it."""
    by_connection = {worker.control: worker for worker in running.workers}
    for connection in wait(list(by_connection)):
        worker = by_connection[connection]  # type: ignore[index]
        try:
            kind, *message = worker.control.recv()
        except (EOFError, OSError) as error:
            raise _gone(worker) from error
        if kind == "made":
            count, rows = message
            running.rows_done[count] = running.rows_done.get(count, 0) + rows
        elif kind == "log":
            name, level, text = message
            logging.getLogger(name).log(level, "%s", text)
        elif running.failure is None or message[0] < running.failure[0]:
            running.failure = (message[0], message[1])


def _gone(worker: _Worker) -> TrainingError:
    try:
        code = worker.process.wait(_END_S)
    except subprocess.TimeoutExpired:
        how = "does not answer"
    else:
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        how += ", most often because memory ran out" if code == -signal.SIGKILL else ""
    return TrainingError(
        f"the worker process {worker.name!r} ({worker.process.pid}) of the training images {how}. Go on from the last "
        "checkpoint with --resume, with fewer worker processes (--workers N) or with none (--workers 0); the result is "
        "the same"
    )


def _ended(workers: list[_Worker], lifeline: int) -> None:
    os.close(lifeline)
    for worker in workers:
        worker.control.close()
    for worker in workers:
        try:
            worker.process.wait(_END_S)
        except subprocess.TimeoutExpired:
            worker.process.kill()
            worker.process.wait()
