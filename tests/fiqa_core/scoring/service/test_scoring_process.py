"""The scoring process: found or started, fed through shared memory, killed, and gone when nobody needs it."""

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fiqa_core.devices import DeviceError
from fiqa_core.scoring.batch_scorer import FaceBatch, Scores
from fiqa_core.scoring.scorer_sources import MeasureSource
from fiqa_core.scoring.service import launch
from fiqa_core.scoring.service.client import RemoteScorer
from fiqa_core.scoring.service.errors import ScoringProcessError, ScoringProcessLostError
from fiqa_core.scoring.service.source import ServedSource
from fiqa_core.scoring.service.wire import Block, PeerError, Shape, receive
from fiqa_core.scoring.settings import ScoreSettings
from fiqa_core.scoring.stream import score_records
from fiqa_core.shards.unit import Record
from tests.fakes import MeanScorer, MeanScorerSource, NoDeviceSource
from tests.makers.images import encoded
from tests.served import EmbeddingSource, FailingSource, FaultySource, UnstableSource, processes_of

FACES = np.random.default_rng(0).integers(0, 256, (8, 112, 112, 3), np.uint8)


@pytest.fixture
def served() -> Iterator[ServedSource]:
    """A source whose scoring process is gone after the test, however that ends."""
    source = ServedSource(MeanScorerSource(), "cpu", True)
    yield source
    for process in processes_of(source):
        os.kill(process, signal.SIGKILL)


def test_scores_equal_those_of_the_scorer_itself(served: ServedSource) -> None:
    np.testing.assert_array_equal(served.load().score_pixels(FACES).quality, MeanScorer().score_pixels(FACES).quality)


def test_a_batch_gathered_in_the_shared_memory_and_one_from_elsewhere_score_alike(served: ServedSource) -> None:
    with served.load().session() as session:
        session.pixels[:5] = FACES[:5]
        here = session.score_pixels(session.pixels[:5]).quality
        assert here.tolist() == session.score_pixels(FACES[:5].copy()).quality.tolist()


def test_embeddings_come_back_whole() -> None:
    scores = ServedSource(EmbeddingSource(), "cpu", True).load().score_pixels(FACES[:3])
    assert scores.quality is None
    np.testing.assert_array_equal(scores.embedding, FACES[:3, 0, :6, 0].astype(np.float32))


def test_stored_sizes_go_the_same_way() -> None:
    with ServedSource(MeasureSource("stored-size"), "cpu", True).load().session() as session:
        assert session.score_batch(FaceBatch(FACES[:2], np.array([7, 9]))).quality.tolist() == [7.0, 9.0]


def test_workers_share_one_process_whoever_comes_first(served: ServedSource) -> None:
    with ThreadPoolExecutor(6) as pool:
        scorers = list(pool.map(lambda _: served.load(), range(6)))
        answers = list(pool.map(lambda scorer: scorer.score_pixels(FACES).quality.tolist(), scorers))
    assert all(answer == answers[0] for answer in answers)
    assert len(processes_of(served)) == 1


def test_a_killed_process_is_said_and_started_anew(served: ServedSource) -> None:
    scorer = served.load()
    (first,) = processes_of(served)
    os.kill(first, signal.SIGKILL)
    with pytest.raises(ScoringProcessLostError, match="killed"):
        scorer.score_pixels(FACES)
    assert scorer.score_pixels(FACES).quality.tolist() == MeanScorer().score_pixels(FACES).quality.tolist()
    assert processes_of(served) != [first]


def test_it_ends_by_itself_when_its_last_worker_is_killed(served: ServedSource, tmp_path: Path) -> None:
    worker = os.fork()
    if worker == 0:
        scorer = served.load()
        (tmp_path / "ready").touch()
        time.sleep(600)
        os._exit(int(scorer is None))
    while not (tmp_path / "ready").exists():
        time.sleep(0.05)
    assert processes_of(served)
    os.kill(worker, signal.SIGKILL)
    os.waitpid(worker, 0)
    deadline = time.monotonic() + 30
    while processes_of(served) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert processes_of(served) == []


def test_nothing_of_a_batch_has_a_name_that_others_could_open(served: ServedSource) -> None:
    scorer = served.load()
    scorer.score_pixels(FACES)
    for process in (os.getpid(), *processes_of(served)):
        maps = Path(f"/proc/{process}/maps").read_text()
        assert "/memfd:fiqa-batch (deleted)" in maps
        assert "/dev/shm/fiqa" not in maps


def test_a_missing_device_is_the_same_error_as_without_it() -> None:
    with pytest.raises(DeviceError, match="this worker sees 0 GPUs"):
        ServedSource(NoDeviceSource(), "cpu", True).load()


def test_a_process_that_dies_while_it_loads_is_an_error_with_the_exit_code(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ScoringProcessError, match=r"did not answer.*exit code: -9"):
        ServedSource(UnstableSource(), "cpu", True).load()


def test_a_batch_that_cannot_be_scored_is_told_and_the_next_one_is_scored() -> None:
    scorer = ServedSource(FailingSource(), "cpu", True).load()
    with pytest.raises(ValueError, match="black"):
        scorer.score_pixels(np.zeros((1, 112, 112, 3), np.uint8))
    assert scorer.score_pixels(FACES[:2]).quality.tolist() == [1.0, 1.0]


def test_after_a_fault_of_the_device_the_process_ends_and_a_new_one_is_started() -> None:
    source = ServedSource(FaultySource(), "cpu", True)
    scorer = source.load()
    (first,) = processes_of(source)
    with pytest.raises(ScoringProcessLostError):
        scorer.score_pixels(np.zeros((1, 112, 112, 3), np.uint8))
    assert scorer.score_pixels(FACES[:2]).quality.tolist() == [1.0, 1.0]
    assert processes_of(source) != [first]


def test_memory_of_another_size_is_refused() -> None:
    block = Block.create(Shape(2, 0, True))
    with pytest.raises(PeerError, match="expected"):
        Block.received(os.dup(block.descriptor), Shape(3, 0, True))


def test_memory_whose_size_could_change_is_refused() -> None:
    shape = Shape(1, 0, True)
    descriptor = os.memfd_create("open", os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, shape.size)
    with pytest.raises(PeerError, match="fixed size"):
        Block.received(descriptor, shape)
    os.close(descriptor)


def test_a_message_that_claims_gigabytes_is_refused() -> None:
    ours, theirs = socket.socketpair()
    theirs.sendall(b"\xff\xff\xff\x7f")
    with pytest.raises(PeerError, match="announced"):
        receive(ours)


def test_one_worker_that_speaks_nonsense_costs_the_others_nothing(served: ServedSource) -> None:
    scorer = served.load()
    place = served._place("cpu")
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.connect(place.address)
        receive(stranger)
        stranger.sendall(b"\x04\0\0\0abcd")
        assert scorer.score_pixels(FACES).quality is not None


def records(count: int) -> list[Record]:
    """Faces of as many grey levels, as they lie in a shard."""
    levels = [np.full((112, 112, 3), 9 * number, np.uint8) for number in range(count)]
    return [Record(str(number), number, None, encoded(level, "PNG")) for number, level in enumerate(levels)]


def test_the_next_batch_is_handed_over_before_the_scores_of_the_last_are_waited_for() -> None:
    said: list[str] = []

    class Session(MeanScorer):
        computes_elsewhere = True

        def begin_batch(self, batch: FaceBatch) -> Callable[[], Scores]:
            number = len([word for word in said if word.startswith("begun")])
            said.append(f"begun {number}")
            scores = self.score_pixels(batch.pixels)

            def wait() -> Scores:
                said.append(f"waited for {number}")
                return scores

            return wait

    class Elsewhere(MeanScorer):
        computes_elsewhere = True

        def session(self) -> contextlib.AbstractContextManager[MeanScorer]:
            return contextlib.nullcontext(Session())

    found = qualities(Elsewhere())
    assert said == ["begun 0", "begun 1", "waited for 0", "begun 2", "waited for 1", "waited for 2"]
    assert found == qualities(MeanScorer())


def qualities(scorer: Any) -> list[float]:
    """Of 20 records, which are three batches."""
    scored = score_records(records(20), scorer, ScoreSettings("none", "none", "0" * 64))
    return [row.quality for rows in scored for row in rows]


def test_a_reader_that_stops_early_leaves_no_scores_behind_for_the_next(served: ServedSource) -> None:
    scorer = served.load()
    backwards = score_records(records(20)[::-1], scorer, ScoreSettings("none", "none", "0" * 64))
    next(backwards)
    backwards.close()
    assert qualities(scorer) == qualities(MeanScorer())


def test_batches_of_many_threads_are_not_mixed_up(served: ServedSource) -> None:
    scorer = served.load()
    wrong = []

    def feed(level: int) -> None:
        for _ in range(20):
            found = scorer.score_pixels(np.full((4, 112, 112, 3), level, np.uint8)).quality
            if not np.allclose(found, level / 255):
                wrong.append((level, found))

    threads = [threading.Thread(target=feed, args=(level,)) for level in range(0, 250, 25)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_no_zombie_stays(served: ServedSource) -> None:
    scorer = RemoteScorer(served._place("cpu"), served.inner)
    (process,) = processes_of(served)
    os.kill(process, signal.SIGKILL)
    time.sleep(0.5)
    assert scorer is not None
    states = subprocess.run(["ps", "-o", "stat=", "-p", str(process)], capture_output=True, text=True).stdout
    assert "Z" not in states


def test_the_address_is_free_of_files() -> None:
    assert launch.Place("a", "cpu").address.startswith(b"\0")
    assert launch.Place("a", "cpu").address != launch.Place("b", "cpu").address
