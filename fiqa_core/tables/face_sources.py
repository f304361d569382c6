"""Where the image of a row lies: the unit of the scoring run that has it, found by shard and index."""

import bisect
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from fiqa_core.runs.layout import RUN, read_run_file
from fiqa_core.runs.plan import plan_dataset
from fiqa_core.shards.formats import AUTO, container_of
from fiqa_core.shards.unit import ReadSettings, Unit
from fiqa_core.storage import above, exists, join
from fiqa_core.tables.quality_files import TableError, table_files, units_beside

_UNIT_SIZE = 10_000


class Source(NamedTuple):
    """A unit, and how the run that scored it read its records."""

    unit: Unit
    read: ReadSettings


@dataclass
class _Shard:
    """The units of one shard in order, and where each begins."""

    firsts: list[int]
    units: list[Unit]
    read: ReadSettings


class FaceSources:
    """The shards of scoring runs.

    A shard that none of the runs has (or any, where no run is named) is planned here, by its name in the row: that
    takes a listing of its folder, or a look at its index.
    """

    def __init__(self, tables: Sequence[str] = (), moved: Sequence[tuple[str, str]] = ()) -> None:
        """Read the plans of the runs.

        Args:
            tables: outputs of scoring runs, or their `quality` folders or files.
            moved: (old, new) beginnings of the shards' absolute addresses, if they were moved since.

        Raises:
            TableError: nothing there, a damaged plan, or two runs that mean different shards by one name.
        """
        self._moved = tuple(moved)
        self._shards: dict[str, _Shard] = {}
        self._own_plans: list[tempfile.TemporaryDirectory[str]] = []
        folders = dict.fromkeys(url.rpartition("/")[0] for table in tables for url in table_files(table))
        for folder in folders:
            self._add(list(units_beside(folder).values()), _read_of(folder))

    def find(self, shard: str, index: int) -> Source:
        """The unit that has the record.

        Raises:
            FiqaError: no run planned the shard, and it cannot be planned now. OSError: its store failed.
        """
        if shard not in self._shards:
            self._plan(shard)
        known = self._shards[shard]
        at = bisect.bisect_right(known.firsts, index) - 1
        return Source(known.units[max(at, 0)], known.read)

    def _add(self, units: Sequence[Unit], read: ReadSettings) -> None:
        by_shard: dict[str, list[Unit]] = defaultdict(list)
        for unit in units:
            by_shard[unit.shard].append(unit)
        for shard, found in by_shard.items():
            found.sort(key=lambda unit: unit.first_index)
            units_here = [self._opened(unit) for unit in found]
            earlier = self._shards.get(shard)
            if earlier is not None and earlier.units[0].url != units_here[0].url:
                raise TableError(
                    f"{shard}: two of the runs have a shard of this name, at {earlier.units[0].url} and at "
                    f"{units_here[0].url}, and a row does not say which it means. Give the rows of each run by itself."
                )
            if earlier is None:
                self._shards[shard] = _Shard([unit.first_index for unit in units_here], units_here, read)

    def _opened(self, unit: Unit) -> Unit:
        """The unit as single records of it are read: where it lies now, and of any version, for each image's sha256 is
        compared."""
        for old, new in self._moved:
            if unit.url == old or unit.url.startswith(old.rstrip("/") + "/"):
                unit = replace(unit, url=new + unit.url.removeprefix(old))
                break
        return replace(container_of(unit).without_keys(unit), version="")

    def _plan(self, shard: str) -> None:
        where = next(
            (
                new + shard.removeprefix(old)
                for old, new in self._moved
                if shard == old or shard.startswith(old.rstrip("/") + "/")
            ),
            shard,
        )
        workspace = tempfile.TemporaryDirectory(prefix="fiqa-")
        self._own_plans.append(workspace)  # units of a folder name a listing in it
        plan = plan_dataset([where], AUTO, _UNIT_SIZE, workspace.name)
        units = sorted(plan.units, key=lambda unit: unit.first_index)
        if len({unit.url for unit in units}) > 1:
            raise TableError(f"{shard}: a folder of several shards; a row names one shard")
        here = [self._opened(unit) for unit in units]
        self._shards[shard] = _Shard([unit.first_index for unit in here], here, ReadSettings())


def read_settings_of(folder: str) -> ReadSettings:
    """How the scoring run with this output folder read its records.

    Raises:
        ValueError: its `run.json` does not say so; the message has no address.
    """
    try:
        read = ReadSettings(**read_run_file(folder)["settings"]["read"])
    except (KeyError, TypeError) as error:
        raise ValueError(str(error)) from error
    kinds = (type(read.label_field), type(read.image_field), type(read.max_stored_bytes))
    if kinds != (str, str, int):
        raise ValueError("its settings of reading are of other types")
    return read


def _read_of(quality: str) -> ReadSettings:
    folder = above(quality)
    if folder is None or not exists(join(folder, RUN)):
        return ReadSettings()
    try:
        return read_settings_of(folder)
    except ValueError as error:
        raise TableError(
            f"{join(folder, RUN)}: not readable as a scoring run's ({error}), so how its records were read is unknown."
        ) from error
