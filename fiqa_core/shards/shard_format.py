"""What a format is to the writer of a subset, where each of its shards is a file that stands alone."""

from typing import IO, Protocol

from fiqa_core.shards.batch import ImageBatch


class ShardWriter(Protocol):
    """Writes the file of one shard, from its first byte to its last."""

    def add_batch(self, batch: ImageBatch) -> list[str]:
        """Write images behind the others; returns the keys under which readers will find them."""

    def close(self) -> None:
        """Write what belongs to the end. Without it the file is not to be published."""

    def abandon(self) -> None:
        """Let go of what is held; the file is not to be published."""


class ShardFormat(Protocol):
    """A format whose shards are files that each stand alone."""

    name: str
    suffix: str

    def begin(self, stream: IO[bytes], dense: bool) -> ShardWriter:
        """Begin a shard; the stream stays the caller's. `dense`: its labels are the images' numbers."""
