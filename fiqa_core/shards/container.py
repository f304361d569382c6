"""A container format: one object that answers everything the rest of the program asks about it.

No other file compares a format's name. A new format is a folder `fiqa_core/shards/<format>/` with a subclass of
`Container` in it, and one line in `fiqa_core/shards/formats.py`. Only `name`, `plan` and `read` must be written; every
other answer has a default that is right, if not fast.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np

from fiqa_core.errors import FiqaError
from fiqa_core.shards.batch import StoredRecords
from fiqa_core.shards.output import Output
from fiqa_core.shards.unit import ReadSettings, Record, Unit
from fiqa_core.storage import Listed, StoredFile

_Item = TypeVar("_Item")
_NO_OTHERS: Mapping[str, bytes] = {}
_NEAR = 8  # records that are read on to reach the next wanted one before the shard is entered again


class UnfitShardError(FiqaError, ValueError):
    """A shard is readable but lacks what the settings name (a column, a field); the message names shard and remedy.

    Where other shards of the dataset do have it, it costs this shard and not the run.
    """


class Surroundings(NamedTuple):
    """Where a shard is planned. `workspace`: URI of the plan folder; `shards`: how many the dataset has."""

    workspace: str
    shards: int


@dataclass(frozen=True)
class FoundImages:
    """Images of consecutive records, found all at once in a block of a shard.

    Attributes:
        data: the block. index: int64, ascending, `Record.index` of each image.
        starts, sizes: int64, the images, as bytes of `data`.
        stored: the whole records as they lie in the block, where a writer of the same format may copy them.
    """

    data: memoryview
    index: np.ndarray
    starts: np.ndarray
    sizes: np.ndarray
    stored: StoredRecords | None = None


class Container(ABC):
    """One container format. Stateless: one object serves all shards, threads and processes.

    Attributes:
        name: as `--format` and `--write` have it, and as a unit's `container` says.
        suffixes: ends of the names of its files, in lower case (`.tar`, `.tar.gz`), or whole names (`data.mdb`, for a
            shard that is a folder of its own).
        companions: the same for files that lie beside its shards and are not read (`.idx`); files of another format
            among them do not make it a folder of two formats.
        named_suffixes: ends of names that are shards only where the user names the file itself (`.csv`): in a folder,
            such files lie beside images and shards, and say something about them.
        label_source: where labels come from if no field of a record can be named for them ("the folder names");
            "": there are fields, so `--label-field` may name one.
        fields_in_records: only reading records shows which fields there are (`False`: planning sees them, and raises
            `UnfitShardError`).
        has_key_field: records have fields, of which `--key-field` may name the one with their key.
        index_moves: a file that is added to the dataset moves the `index` of the records behind it (image folders), so
            that a record is told from others by its key.
        listing_in_plan: a unit's `listing` is a file of the plan folder, so it moves where that moves.
        keys_in_place: `read_at` gives each record its key; False where keys lie in a file beside the shard.
        output: how images are written in this format; None: it is only read.
        same: name of the format that `--write same` writes for this one; "": itself, if it has an `output`.
    """

    name: str
    suffixes: tuple[str, ...] = ()
    companions: tuple[str, ...] = ()
    named_suffixes: tuple[str, ...] = ()
    label_source: str = ""
    fields_in_records: bool = False
    has_key_field: bool = False
    index_moves: bool = False
    listing_in_plan: bool = False
    keys_in_place: bool = True
    output: Output | None = None
    same: str = ""

    # Names of files.

    def recognises(self, name: str) -> bool:
        """Whether a file of this name is a shard of the format; the content is not looked at."""
        return _is_called(name, self.suffixes)

    def recognises_named(self, name: str) -> bool:
        """Whether a file of this name, which the user named, is a shard of the format."""
        return self.recognises(name) or _is_called(name, self.named_suffixes)

    def is_companion(self, name: str) -> bool:
        """Whether a file of this name belongs to a shard beside it and is passed over in silence."""
        return _is_called(name, self.companions)

    # Planning.

    def inputs_in(self, file: StoredFile, is_shard: Callable[[str], bool]) -> Sequence[str] | None:  # noqa: ARG002
        """Inputs that a file names (a list of shards), to be planned in its place; None: the file is a shard itself.

        Args:
            is_shard: whether a name is that of a shard of any format.
        """
        return None

    @abstractmethod
    def plan(self, file: StoredFile, unit_size: int, settings: ReadSettings | None = None) -> Iterator[Unit]:
        """Cut one shard into units, in order; `number` is given later. Reads an index or a footer, never all images.

        Args:
            file: the shard.
            unit_size: records a unit. It means the same in every format: a shard is cut behind every `unit_size`-th
                record, or, where only some places can be cut (row groups, estimated bytes), at the place nearest to
                that; a shard that cannot be cut is one unit, whatever its size. Records keep their `index`, `key` and
                order for every `unit_size`.
            settings: refuse now a shard that cannot be read as they say; None: no such check.

        Raises:
            UnfitShardError: the shard lacks what `settings` name. Damage is not raised: a damaged shard is planned as
                `whole(file)`, and reading it gives the row that says so.
            OSError: the store failed.
        """

    def plan_among(
        self,
        file: StoredFile,
        unit_size: int,
        settings: ReadSettings | None,
        around: Surroundings,  # noqa: ARG002
    ) -> Iterator[Unit]:
        """As `plan`, which it calls; for a format that must read through a shard to cut it (a tar), and so keeps what
        it found in the plan folder, or leaves small shards of a large dataset whole."""
        return self.plan(file, unit_size, settings)

    def whole(self, file: StoredFile) -> Unit:
        """One unit for a whole shard of which nothing is known (not opened, or damaged)."""
        return Unit(0, self.name, file.shown, file.url, 0, 0, 0, -1, file.size, file.version)

    def is_sequential(self, unit: Unit) -> bool:  # noqa: ARG002
        """Whether a unit is a whole shard that one worker has to read from its start (a `.tar.gz`): beginning in the
        middle costs all that lies before."""
        return False

    def settle(self, units: Sequence[Unit], settings: ReadSettings) -> Sequence[Unit]:  # noqa: ARG002
        """The same units after what must be decided once for all shards together (which column is the label).

        Args:
            units: all units of this format in the dataset; as many are returned, in this order.
        """
        return units

    def class_names(self, units: Sequence[Unit], settings: ReadSettings) -> tuple[str, Sequence[str]] | None:  # noqa: ARG002
        """The field of the labels and the names of its numbers 0, 1, 2 ..., where the shards store numbers and names
        (labels are the names); None where they do not."""
        return None

    # Reading.

    @abstractmethod
    def read(self, unit: Unit, settings: ReadSettings) -> Iterator[Record]:
        """The records of a unit, in order of `index`; each is an image's stored bytes or the fault that stands for it.

        Bad content never raises: it becomes a record with a fault, one for each record that is known to be lost, or
        one with `key` None for the rest of a shard. An image of more than `settings.max_stored_bytes` is hashed and
        not kept. Memory does not grow with the unit.

        Raises:
            OSError: the store failed; the unit is tried again.
        """

    def read_places(self, unit: Unit, settings: ReadSettings, places: Iterator[int]) -> Iterator[Record]:
        """Some records of a unit, and those that stand for a part of its shard which is lost before the last of them.

        Args:
            places: which, counted from 0 among all records of the unit; ascending.
        """
        return at_places(self.read(unit, settings), places, lambda record: record.key is None)

    # Reading again, for a subset: `index` and sha256 of the wanted records are known then.

    def without_keys(self, unit: Unit) -> Unit:
        """The unit for readers that do not need keys: without an index file that may not be there any more."""
        return unit

    def enter_at(self, unit: Unit, index: int) -> Unit:  # noqa: ARG002
        """The unit from the record with this `index` on; the unit itself where it can only be read from its start."""
        return unit

    def read_at(self, unit: Unit, settings: ReadSettings, wanted: Sequence[int]) -> Iterator[Record]:
        """Single records of a unit, as `read` gives them; as little of the shard is read as its format allows.

        Args:
            wanted: their `index`, ascending, each once. Of one that the unit does not have there is no record.

        Raises:
            OSError: the store failed.
        """
        return picked(self, unit, settings, wanted)

    def reads_in_place(self, unit: Unit) -> bool:  # noqa: ARG002
        """Whether `read_at` passes over what lies before a record, so that threads may share one unit's records."""
        return False

    def read_samples(self, unit: Unit, settings: ReadSettings) -> Iterator[tuple[Record, Mapping[str, bytes]]]:
        """As `read`, with further files that belong to each image, by suffix in lower case (members of a WebDataset
        sample); only outputs that keep them ask for it."""
        return ((record, _NO_OTHERS) for record in self.read(unit, settings))

    def blocks(self, unit: Unit, settings: ReadSettings, wanted: Callable[[], int | None]) -> Iterator[FoundImages]:  # noqa: ARG002
        """Images found many at a time, without a step of Python for each; the fast way through an undamaged shard.

        It ends before the first thing that it does not understand; `read` goes on from there, so nothing at all (the
        default) is a right answer.

        Args:
            wanted: asked before each block for the `index` of the next record that is needed; None: no more are.
        """
        return iter(())


def picked(container: Container, unit: Unit, settings: ReadSettings, wanted: Sequence[int]) -> Iterator[Record]:
    """The wanted records (see `Container.read_at`) by `enter_at` and `read`: a new entry for each that is not among the
    next few, or one pass over a unit that can only be read from its start."""
    place = 0
    entry = container.enter_at(unit, wanted[0]) if wanted else None
    while entry is not None and place < len(wanted):
        following, passed = None, 0
        for record in container.read(entry, settings):
            while place < len(wanted) and wanted[place] < record.index:
                place += 1
            if place < len(wanted) and record.index == wanted[place]:
                yield record
                place, passed = place + 1, -1
            if place == len(wanted):
                return
            passed += 1
            if passed == _NEAR:
                following, passed = container.enter_at(unit, wanted[place]), 0
                if following != entry:
                    break
                following = None
        entry = following


def at_places(
    items: Iterable[_Item], places: Iterator[int], always: Callable[[_Item], bool] = lambda _: False
) -> Iterator[_Item]:
    """The items at some places (ascending, from 0), and before the last of them those that `always` holds for."""
    wanted = next(places, None)
    if wanted is None:
        return
    for place, item in enumerate(items):
        if place == wanted or always(item):
            yield item
        if place == wanted and (wanted := next(places, None)) is None:
            return


class LooseFiles(Container):
    """A format without shards: every record is a file of its own, and files are planned a folder at a time."""

    def plan(self, file: StoredFile, unit_size: int, settings: ReadSettings | None = None) -> Iterator[Unit]:  # noqa: ARG002
        """Single files are gathered by folder: see `plan_files`."""
        raise TypeError(f"files of the format {self.name} are planned together, by plan_files")

    @abstractmethod
    def plan_files(self, folder: StoredFile, files: Iterable[Listed], unit_size: int, workspace: str) -> Sequence[Unit]:
        """Cut files of one folder into units of `unit_size` files.

        Args:
            files: in order of their paths. workspace: URI of the plan folder, for the listing that the units name.
        """


def _is_called(name: str, ends: Sequence[str]) -> bool:
    """Whether a file's name ends like one of these (with a dot in front), or is one of these."""
    name = name.lower()
    base = name.rpartition("/")[2]
    return any(name.endswith(end) if end.startswith(".") else base == end for end in ends)
