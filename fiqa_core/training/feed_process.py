"""A worker process of `feed`: reads stored images, or decodes and augments them. Nothing here imports torch."""

import itertools
import logging
import os
import pickle
import signal
import sys
import threading
from collections.abc import Sequence
from multiprocessing.connection import Connection
from operator import attrgetter
from typing import Any

import cv2

from fiqa_core.training.errors import TrainingError
from fiqa_core.training.making import RowMaker
from fiqa_core.training.rows import Rows
from fiqa_core.training.sequence import BatchRows, BatchSequence


def main(arguments: Sequence[str]) -> None:
    """Do one task, which comes over the connection (a file descriptor), until the pipe (another one) is closed."""
    # Signals reach every process of a job; the training process handles them, and ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    control = Connection(int(arguments[0]))
    threading.Thread(target=_end_with, args=(int(arguments[1]),), daemon=True).start()
    logging.basicConfig(level=logging.WARNING, handlers=[_Forwarded(control)])
    cv2.setNumThreads(1)
    task = control.recv()
    (_decode if isinstance(task[0], int) else _read)(control, *task)


def _read(
    control: Connection, queues: Sequence[int], sequence: BatchSequence, epoch: int, skip: int, slots: int
) -> None:
    """Send the rows of batches from (`epoch`, `skip`) on to the decoders, at most `slots` batches ahead of the last
    taken."""
    decoders = itertools.cycle([Connection(queue) for queue in queues])
    count = 0
    try:
        for number in itertools.count(epoch):
            for _, parts in itertools.groupby(sequence.parts(number, skip), attrgetter("step")):
                if count >= slots:
                    control.recv()
                for part in parts:
                    next(decoders).send((count, slots, part))
                count += 1
            skip = 0
    except (EOFError, BrokenPipeError):  # another process is gone; the training process reports which
        pass
    except Exception as error:
        control.send(("failed", count, _sendable(error)))
    _wait_for_the_end()


def _decode(control: Connection, queue: int, memory: Sequence[int], batch: int, maker: RowMaker) -> None:
    """Fill the rows that the reader sends to this process."""
    slots = [Rows.shared(descriptor, batch) for descriptor in memory]
    for descriptor in memory:
        os.close(descriptor)  # the maps keep one each
    parts = Connection(queue)
    count = 0
    try:
        while True:
            part: BatchRows
            count, around, part = parts.recv()
            maker.make(part, slots[count % around])
            control.send(("made", count, part.rows))
    except (EOFError, BrokenPipeError):
        pass
    except Exception as error:
        control.send(("failed", count, _sendable(error)))
    _wait_for_the_end()


def _end_with(lifeline: int) -> None:
    """End this process at once when the training process is gone or needs no more batches."""
    os.read(lifeline, 1)
    os._exit(0)


def _wait_for_the_end() -> None:
    threading.Event().wait()


def _sendable(error: Exception) -> Exception:
    """The error itself if it can be pickled and read again; otherwise one with the same message."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - its own
    except Exception:
        return TrainingError(f"{type(error).__name__}: {error}")
    return error


class _Forwarded(logging.Handler):
    """Sends log records to the training process, which writes them with its own."""

    def __init__(self, control: Connection) -> None:
        super().__init__()
        self._control = control

    def emit(self, record: logging.LogRecord) -> None:
        """As `logging.Handler.emit`; called with the handler's lock held."""
        message: tuple[Any, ...] = ("log", record.name, record.levelno, record.getMessage())
        self._control.send(message)


if __name__ == "__main__":
    main(sys.argv[1:])
