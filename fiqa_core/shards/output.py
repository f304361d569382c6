"""How a format is written: as shards that each stand alone, as one set of files, or as a file an image."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import IO, NamedTuple, Protocol

import numpy as np

from fiqa_core.errors import FiqaError
from fiqa_core.shards.batch import ImageBatch


class OutputRefusedError(FiqaError, ValueError):
    """The images cannot be written in this format; the message says why and what to do."""


class Output:
    """What is the same to ask of every kind of output. Use one of the three kinds below.

    Attributes:
        dense_labels: labels are always numbers 0 .. n-1 (and every image must have one).
        keeps_others: further files of a sample are written too (see `Container.read_samples`).
        layouts: variants that may be asked for by name; the first is the usual one. (): there are none.
    """

    dense_labels: bool = False
    keeps_others: bool = False
    layouts: tuple[str, ...] = ()

    def require(self) -> None:
        """Called before anything is decided or written.

        Raises:
            OutputRefusedError: a package that writing needs is not installed; the message says how to get it.
        """

    def naming(self, dense: bool) -> int:  # noqa: ARG002
        """Version of how files are named; raise it when the same settings would give them other names."""
        return 0

    def layout(self, wanted: str, images: int, identities: int) -> str:  # noqa: ARG002
        """The layout that is written ("" where there are none): the one wanted, or for "" the one that holds so many
        images and identities.

        Raises:
            OutputRefusedError: it cannot hold them.
        """
        return wanted if wanted in self.layouts else ""

    def refuse(self, labels: Mapping[str, int], unlabelled: int, dense: bool) -> None:
        """Refuse labels that cannot be written, before anything is.

        Args:
            labels: images of each label. unlabelled: images without one. dense: labels become numbers.

        Raises:
            OutputRefusedError: it names a label, or says how many images have none.
        """


class ShardWriter(Protocol):
    """Writes the file of one shard, from its first byte to its last."""

    def add_batch(self, batch: ImageBatch) -> list[str]:
        """Write images behind the others; returns the keys under which readers will find them."""

    def close(self) -> None:
        """Write what belongs to the end. Without it the file is not to be published."""

    def abandon(self) -> None:
        """Let go of what is held; the file is not to be published."""


class ShardOutput(Output, ABC):
    """A format whose shards are files that each stand alone, so that any number of workers write at once.

    Attributes:
        suffix: of a shard's file, with its dot.
    """

    suffix: str

    @abstractmethod
    def begin(self, stream: IO[bytes], dense: bool) -> ShardWriter:
        """Begin a shard.

        Args:
            stream: an empty file on the local disk, open for writing; the caller closes it. A library that opens files
                itself takes its path, `stream.name`.
            dense: labels are written as the images' numbers (`number`), not as they are (`label`).
        """


class PackedRecords(NamedTuple):
    """Images as the set will have them: uint8 `records`, and int64 `offsets` (images + 1) where each begins."""

    records: np.ndarray
    offsets: np.ndarray


class SetWriter(Protocol):
    """Writes the files of one set, from the first image to the last."""

    def add(self, packed: PackedRecords, numbers: np.ndarray) -> Sequence[str]:
        """Write images, which come in order of their `numbers` (int64, dense labels); the keys that readers find."""

    def close(self) -> None:
        """Write what belongs to the end. Without it the files are not to be published."""


class SetOutput(Output, ABC):
    """A format that is one set of files, with the images of a label side by side.

    Workers write sorted runs of packed records, and a last step merges the runs into the set; where the images come in
    order already, one worker writes it in one go.

    Attributes:
        name: of the set (`train`). files: its files; the first has the images, the last is the one that readers open
            first, so it is published last.
    """

    dense_labels = True
    name: str
    files: tuple[str, ...]

    @abstractmethod
    def pack(self, batch: ImageBatch) -> PackedRecords:
        """The images of a batch as records that only need to be put in order (and their keys set)."""

    @abstractmethod
    def begin(self, streams: Sequence[IO[bytes]], layout: str) -> SetWriter:
        """Begin a set; `streams` are its files, seekable, and stay the caller's."""


class FileOutput(Output):
    """A format that is a folder `<label>/<name>.<suffix>` with a file for every image."""
