"""A part of a dataset to try something on: its first records, or some of them from all its shards."""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from fiqa_core.shards.formats import PlanError, container_of
from fiqa_core.shards.plan import Plan
from fiqa_core.shards.unit import ReadSettings, Record, Unit
from fiqa_core.storage import StorageError, in_flight
from fiqa_core.wording import counted

_log = logging.getLogger(__name__)
_COUNTED_AT_ONCE = 4


@dataclass(frozen=True)
class Sample:
    """Which records of a dataset are taken. The same records for every unit size, runner and number of workers.

    Attributes:
        kind: `limit`, the first ones in the order of the plan; or `sample`, one from each of `records` equal stretches
            of the dataset, so that every shard gives its share.
        records: how many; all, where the dataset has fewer. seed: decides which, for `sample`.
        out_of: records of the whole dataset; None where it is not known (`limit` of shards that only reading counts).
    """

    kind: Literal["limit", "sample"]
    records: int
    seed: int = 0
    out_of: int | None = None

    def in_words(self) -> str:
        """`a sample: 100 of 9,030 records (--sample 100 --seed 0)`."""
        how = f"--sample {self.records} --seed {self.seed}" if self.kind == "sample" else f"--limit {self.records}"
        if self.out_of is None:
            return f"a sample: the first {counted(self.records, 'record')}, or all if there are fewer ({how})"
        taken = min(self.records, self.out_of)
        return f"a sample: {taken:,} of {counted(self.out_of, 'record')} ({how})"


def take_sample(plan: Plan, sample: Sample, read: ReadSettings) -> tuple[Plan, Sample]:
    """The units that hold records of a sample, numbered anew, and the sample with the size of the dataset.

    Shards whose number of records only reading shows are read for it: up to the last record that is taken (`limit`),
    or once from end to end (`sample`).

    Raises:
        StorageError: such a shard could not be read from its store.
    """
    if sample.kind == "limit":
        taken, total = _first(plan.units, sample.records, read)
        sample = replace(sample, out_of=total)
    else:
        counts = _counts(plan.units, read)
        sample = replace(sample, out_of=sum(counts))
        taken = _spread(plan.units, counts, sample)
    if not taken and plan.units:
        taken = [replace(plan.units[0], take=0, place=0)]  # a dataset without records: its table is empty
    # Units that are left out may have a listing in the workspace that no other unit has.
    listings = sorted({unit.listing.rpartition("/")[2] for unit in plan.units} - {""})
    numbered = tuple(replace(unit, number=number) for number, unit in enumerate(taken))
    return Plan(numbered, (*plan.written, *listings)), sample


def records_of(unit: Unit, read: ReadSettings, sample: Sample | None) -> Iterator[Record]:
    """The records of a unit that are taken: all, where it is not of a sample.

    Raises:
        PlanError: the unit is of a sample, and none is given.
    """
    container = container_of(unit)
    if unit.take < 0:
        return container.read(unit, read)
    if sample is None:
        raise PlanError(f"{unit.shard}: planned for a sample, but the settings name none. Plan the run again.")
    return container.read_places(unit, read, places(unit, sample))


def places(unit: Unit, sample: Sample) -> Iterator[int]:
    """Which records of a unit are taken: their places among its records, from 0, ascending."""
    if sample.kind == "limit":
        yield from range(unit.take)
        return
    first = _taken_before(unit.place, sample)
    for number in range(first, first + unit.take):
        yield _place(number, sample) - unit.place


def _first(units: Sequence[Unit], wanted: int, read: ReadSettings) -> tuple[list[Unit], int | None]:
    """The units of the first `wanted` records, and the number of all records, None if it is not known."""
    known = [unit.records for unit in units]
    total: int | None = None if -1 in known else sum(known)
    taken: list[Unit] = []
    before = 0
    for unit in units:
        if before == wanted:
            break
        here = unit.records if unit.records >= 0 else _count(unit, read, wanted - before)
        if here:
            taken.append(replace(unit, take=min(here, wanted - before), place=before))
            before += taken[-1].take
    if total is None and before < wanted:
        total = before  # every shard was read to its end
    return taken, total


def _counts(units: Sequence[Unit], read: ReadSettings) -> list[int]:
    """The number of records of every unit."""
    unknown = [unit for unit in units if unit.records < 0]
    if unknown:
        _log.info("reading %s to count the records", counted(len(unknown), "unit"))
    counts = iter(in_flight(unknown, lambda unit: _count(unit, read), _COUNTED_AT_ONCE))
    return [unit.records if unit.records >= 0 else next(counts) for unit in units]


def _spread(units: Sequence[Unit], counts: Sequence[int], sample: Sample) -> list[Unit]:
    """The units that have a record in one of the equal stretches' chosen places."""
    taken: list[Unit] = []
    place = 0
    for unit, count in zip(units, counts, strict=True):
        take = _taken_before(place + count, sample) - _taken_before(place, sample)
        if take:
            taken.append(replace(unit, take=take, place=place))
        place += count
    return taken


def _count(unit: Unit, read: ReadSettings, most: int | None = None) -> int:
    """Records of a unit, counted by reading them; at most `most` (None: all)."""
    count = 0
    try:
        for _ in container_of(unit).read(unit, read):
            count += 1
            if count == most:
                break
    except StorageError:
        raise
    except OSError as error:
        _log.warning("%s: could not be read to the end to count its records (%s)", unit.shard, error)
        return max(1, count)  # so that the unit can be taken, and scoring it says what is wrong
    return count


def _stretches(sample: Sample) -> tuple[int, int]:
    """Number of stretches (one record of each is taken), and number of all records."""
    total = sample.out_of or 0
    return min(sample.records, total), total


def _place(number: int, sample: Sample) -> int:
    """The place in the dataset of the record that is taken from a stretch."""
    stretches, total = _stretches(sample)
    low, high = number * total // stretches, (number + 1) * total // stretches
    # A digest, not a generator of numpy's: its numbers may change from one version to the next.
    chance = hashlib.sha256(f"{sample.seed} {number}".encode()).digest()[:8]
    return low + int.from_bytes(chance, "big") % (high - low)


def _taken_before(place: int, sample: Sample) -> int:
    """How many of the taken records lie before a place in the dataset."""
    stretches, total = _stretches(sample)
    if place >= total:
        return stretches
    number = ((place + 1) * stretches - 1) // total  # the stretch that the place lies in
    return number + (_place(number, sample) < place)
