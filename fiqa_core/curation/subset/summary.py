"""What tasks have written, as counts that can be added in any order."""

from dataclasses import dataclass, replace

from fiqa_core.wording import counted


@dataclass(frozen=True)
class SubsetSummary:
    """Counts of one task or of many.

    `images` and `bytes` (of images) count finished shards only; `shards` is their number; `images_now` were written
    by this run; `tasks` is a bit mask of task numbers, so that one missing or counted twice is seen; `failures` are
    (task, reason); `seconds` is worker time.
    """

    images: int = 0
    bytes: int = 0
    shards: int = 0
    images_now: int = 0
    tasks: int = 0
    repeated: int = 0
    seconds: float = 0.0
    failures: tuple[tuple[int, str], ...] = ()


def merge(a: SubsetSummary, b: SubsetSummary) -> SubsetSummary:
    """The sum of both; associative and commutative."""
    return SubsetSummary(
        images=a.images + b.images,
        bytes=a.bytes + b.bytes,
        shards=a.shards + b.shards,
        images_now=a.images_now + b.images_now,
        tasks=a.tasks | b.tasks,
        repeated=a.repeated + b.repeated + (a.tasks & b.tasks).bit_count(),
        seconds=a.seconds + b.seconds,
        failures=tuple(sorted(a.failures + b.failures)),
    )


def problems(summary: SubsetSummary, images: int, tasks: int) -> list[str]:
    """Why a subset is not as planned; empty if it is."""
    found = [f"task {number} failed: {reason}" for number, reason in summary.failures]
    missing = ((1 << tasks) - 1) & ~summary.tasks
    if missing:
        some = [str(number) for number in range(tasks) if missing >> number & 1][:10]
        found.append(f"the runner lost tasks {', '.join(some)}: run again with --resume")
    if summary.repeated:
        found.append(f"the runner counted {counted(summary.repeated, 'task')} twice: run again with --resume")
    if not found and summary.images != images:
        found.append(
            f"{counted(images, 'image was', 'images were')} to be written, {counted(summary.images, 'is', 'are')}"
        )
    return found


def of_task(summary: SubsetSummary, number: int, seconds: float, failure: str | None = None) -> SubsetSummary:
    """The summary of a task that is done, or that failed."""
    failures = () if failure is None else ((number, failure),)
    return replace(summary, tasks=1 << number, seconds=seconds, failures=failures)
