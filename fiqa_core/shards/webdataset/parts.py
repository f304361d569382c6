"""From the members of a tar to samples, and to the bytes that are lost between them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from fiqa_core.shards.names import MAX_NAME_CHARACTERS, is_litter, printable, shortened
from fiqa_core.shards.tar.stream import FOLDER, Gap, Member, TarDamagedError
from fiqa_core.shards.unit import Fault
from fiqa_core.shards.webdataset.records import OVERLONG
from fiqa_core.shards.webdataset.sample import Sample
from fiqa_core.wording import counted
from schemas.reasons import Status


@dataclass
class LostBytes:
    """Bytes of the archive that are lost, and names of files next to them whose image is lost with them."""

    gap: Gap
    left: list[str] = field(default_factory=list)

    @property
    def message(self) -> str:
        """For the row that stands for them."""
        begin, end, reason = self.gap
        beside = f". Files whose image is lost there: {', '.join(self.left)[:300]}" if self.left else ""
        return (
            f"bytes {begin} to {end} of the archive are lost ({counted(end - begin, 'byte')}, "
            f"an unknown number of records): "
            f"{reason}{beside}"
        )


def parts(found: Iterable[Member | Gap], sidecar_bytes: int) -> Iterator[Sample | LostBytes | Fault]:
    """Samples and lost bytes in order; a fault where the rest of the archive is lost.

    A sample is given as soon as the first member behind it was taken from `found`.

    The sample at a break is kept as far as it was read, since its image may be whole. If it has no image, its image
    is among the lost bytes, so their row names it.
    """
    before: list[LostBytes] = []
    try:
        for sample, after in _runs(found, sidecar_bytes):
            if not before and not after:
                yield sample
                continue
            if not sample.images:
                (after[:1] or before[-1:])[0].left.extend(_listed(sample))
                yield from before
            else:
                sample.damaged |= bool(before or after)
                yield from before
                yield sample
            before = after
    except TarDamagedError as error:
        yield from before
        status = Status.SHARD_TRUNCATED if error.truncated else Status.SHARD_UNREADABLE
        yield Fault(status, str(error))
        return
    yield from before


def _listed(sample: Sample) -> list[str]:
    return [printable(name) for name in sorted(sample.names)[:10]]


def _runs(found: Iterable[Member | Gap], sidecar_bytes: int) -> Iterator[tuple[Sample, list[LostBytes]]]:
    """Runs of members with the same key, with the bytes that are lost inside them or right behind.

    Raises:
        TarDamagedError: the rest of the archive is lost; the sample before was yielded if it has an image.
    """
    sample = Sample("", sidecar_bytes)
    lost: list[LostBytes] = []
    damage: TarDamagedError | None = None
    try:
        for member in found:
            if isinstance(member, Gap):
                lost.append(LostBytes(member))
                continue
            name = member.name
            if member.kind is FOLDER:
                continue
            if name[:2] == "./":
                name = _tidy(name)
            if len(name) > MAX_NAME_CHARACTERS:
                name = _short_name(name)
                member = member._replace(name=name, kind=OVERLONG)
            folder, slash, base = name.rpartition("/")
            stem = base.partition(".")[0]
            if not stem and is_litter(base):
                continue
            key = folder + slash + stem
            if key != sample.key or name in sample.names:
                if sample.names or lost:
                    yield sample, lost
                    lost = []
                sample = Sample(key, sidecar_bytes)
            elif sample.full():
                part, sample = sample.split()
                part.damaged |= bool(lost)
                yield part, []
            sample.add(name, member)
    except TarDamagedError as error:
        damage = error
    if damage is None or sample.images or lost:
        if sample.names or lost:
            yield sample, lost
    elif sample.names:
        left = ", ".join(_listed(sample))[:300]
        raise TarDamagedError(f"{damage}. Files whose image is lost there: {left}", damage.truncated)
    if damage is not None:
        raise damage


def _tidy(name: str) -> str:
    while name.startswith("./"):
        name = name[2:]
    return name


def _short_name(name: str) -> str:
    """A stand-in for a name too long to keep: files of one sample still share it, and keep their suffix."""
    folder, slash, base = name.rpartition("/")
    stem, dot, rest = base.partition(".")
    return shortened(folder + slash + stem, 256) + dot + rest[-64:]
