"""Whether the units of a plan can keep all workers busy."""

from collections.abc import Sequence

from fiqa_core.shards.formats import container_of
from fiqa_core.shards.unit import Unit

_FAR_LARGER = 1.5  # times an equal share: the other workers then wait a third of the time or longer


def idle_workers(units: Sequence[Unit], workers: int) -> str | None:
    """A warning for shards that leave workers without work (a `.tar.gz`, or a tar with less than two units of records,
    is read from its start by one worker); None if all workers are busy."""
    whole_shards = [unit for unit in units if container_of(unit).is_sequential(unit)]
    if workers < 2 or not whole_shards:
        return None
    if len(units) < workers:
        return (
            f"{len(units)} unit{'s' if len(units) > 1 else ''} for {workers} workers: {workers - len(units)} of them "
            f"will have nothing to do, as one worker reads a whole shard. {_advice(workers)}"
        )
    largest = max(whole_shards, key=lambda unit: unit.size)
    whole = sum(max(unit.size, 0) for unit in units)
    if largest.size > _FAR_LARGER * whole / workers:
        return (
            f"{largest.shard} has {largest.size:,} of {whole:,} bytes, and one worker reads a whole shard: the other "
            f"{workers - 1} will wait for it. {_advice(workers)}"
        )
    return None


def _advice(workers: int) -> str:
    return (
        "A smaller --unit-size cuts a tar that is not compressed into more units. Or cut the images into shards of "
        f"like size, {4 * workers} or more: fiqa filter --write webdataset --shard-size N does that."
    )
