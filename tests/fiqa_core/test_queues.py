"""Queues between stages count bytes: large images do not add up."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from fiqa_core.ahead import ahead
from fiqa_core.in_flight import InFlight
from fiqa_core.scoring import stream
from fiqa_core.scoring.settings import ScoreSettings
from fiqa_core.shards.balance import idle_workers
from fiqa_core.shards.unit import Record, Unit

SETTINGS = ScoreSettings("none", "none", "0" * 64)


class Counted:
    """Items of one size, and the most bytes of them that were made and not yet taken."""

    def __init__(self, size: int, count: int) -> None:
        self.size, self.count = size, count
        self.made = self.taken = self.most = 0

    def __iter__(self) -> Iterator[bytes]:
        for _ in range(self.count):
            self.made += self.size
            self.most = max(self.most, self.made - self.taken)
            yield bytes(self.size)


def test_what_is_read_ahead_is_bounded_in_bytes_and_in_number():
    for size, most, depth in ((1000, 3500, 50), (10, 3500, 6), (9000, 3500, 6)):
        source = Counted(size, 40)
        items = ahead(source, depth, len, most)
        for item in items:
            time.sleep(0.001)
            source.taken += len(item)
        assert source.made == source.taken == 40 * size
        # Beside what waits: one that is made and one that is used.
        assert source.most <= max(min(most, depth * size), size) + 2 * size


def test_stored_bytes_that_wait_to_be_decoded_are_bounded(monkeypatch):
    monkeypatch.setattr(stream, "_BYTES_IN_FLIGHT", 400_000)
    monkeypatch.setattr(stream, "_CHUNK_BYTES", 50_000)
    source = Counted(20_000, 300)
    records = (Record(str(n), n, None, data) for n, data in enumerate(source))
    rows = 0
    for row in stream.prepare_rows(records, SETTINGS, threads=4):
        assert row.record.index == rows
        rows += 1
        source.taken += source.size
    assert rows == 300
    assert source.most <= 400_000 + 2 * 60_000


def test_stored_bytes_of_training_images_that_wait_are_bounded():
    flight, most = InFlight(1000), 0
    gate = threading.Semaphore(0)
    with ThreadPoolExecutor(2) as pool:
        threading.Timer(0.05, lambda: gate.release(30)).start()
        for _ in range(30):
            flight.make_room(400)
            flight.add(pool.submit(gate.acquire), 400)
            most = max(most, flight.held)
    assert most == 800


def unit(number: int, size: int, container: str = "webdataset") -> Unit:
    return Unit(number, container, f"{number}.tar", f"/{number}.tar", 0, 0, 0, -1, size, "")


def test_tars_that_leave_workers_idle_are_said_and_others_are_not():
    assert "1 unit for 4 workers: 3 of them" in str(idle_workers([unit(0, 100)], 4))
    said = str(idle_workers([unit(0, 1000), *(unit(n, 10) for n in range(1, 9))], 4))
    assert "0.tar has 1,000 of 1,080 bytes" in said
    assert "--shard-size" in said
    assert idle_workers([unit(n, 100) for n in range(8)], 4) is None
    assert idle_workers([unit(0, 100)], 1) is None
    assert idle_workers([unit(0, 100, "parquet")], 4) is None


def test_a_tar_that_is_cut_leaves_no_worker_idle_and_a_smaller_unit_size_is_said_to_cut_it():
    assert "--unit-size" in str(idle_workers([unit(0, 100)], 4))
    parts = [
        replace(unit(number, 100), start=100 * number, stop=100 * number + 100, listing="tar-0.parquet")
        for number in range(3)
    ]
    assert idle_workers(parts, 4) is None
