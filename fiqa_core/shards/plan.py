"""From what the user names (URIs, globs, folders) to a numbered list of units."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from fiqa_core.runs.layout import UNITS, RunFiles
from fiqa_core.shards.folder.reader import plan_folder
from fiqa_core.shards.formats import CONTAINERS, FORMATS, PlanError, container_of, format_of, what_instead
from fiqa_core.shards.label_plan import check_label_field, write_class_labels
from fiqa_core.shards.parquet.reader import ColumnError, Parquet
from fiqa_core.shards.parquet.row_numbers import mark_row_numbers
from fiqa_core.shards.recordio.reader import RecordIO
from fiqa_core.shards.sources import ImageSet, PassedOver, Source, find_sources, several_formats
from fiqa_core.shards.unit import ReadSettings, Unit
from fiqa_core.storage import StorageError, exists, in_flight, join, open_read
from fiqa_core.wording import counted

__all__ = ["CONTAINERS", "FORMATS", "Plan", "PlanError", "container_of", "plan_dataset"]

_log = logging.getLogger(__name__)
_NAMED = 20
_PLANNED_AT_ONCE = 16  # shards whose footers are read at the same time: planning waits for the store, not for a core


@dataclass(frozen=True)
class Plan:
    """The units of a dataset; `written`: files of the workspace that no unit names."""

    units: tuple[Unit, ...]
    written: tuple[str, ...] = ()

    @property
    def records(self) -> int | None:
        """Number of records, None where only reading can tell."""
        counts = [unit.records for unit in self.units]
        return None if -1 in counts else sum(counts)


def plan_dataset(
    inputs: Sequence[str], container: str, unit_size: int, workspace: str, read: ReadSettings | None = None
) -> Plan:
    """Cut a dataset into units.

    Args:
        inputs: URIs or local paths of shards, image files or folders, with globs.
        container: a name of `CONTAINERS`, or `auto` to tell by the files' names.
        unit_size: records a unit, where the format can be cut.
        workspace: folder URI for listings that units refer to. Where a run was begun there before, shards keep
            the names that it gave them (`faces` and `/data/faces` are one), so that a table has one name for each.
        read: how records will be read, to refuse shards that do not have what it names; None: no such check.

    Raises:
        PlanError: an input that does not exist, of no known format, or of several.
        ColumnError: no Parquet shard has a column that can be the image, or the label that was named. (One without it
            among others is one unit that cannot be read.)
    """
    own = RunFiles(workspace)
    units: list[Unit] = []
    sources = find_sources(inputs, container, own)
    plans = in_flight(sources, lambda s: _plan_source(s, container, unit_size, workspace, own, read), _PLANNED_AT_ONCE)
    without_columns: list[ColumnError] = []
    for found in plans:
        if isinstance(found, _Unfit):
            without_columns.append(found.error)
            units.append(found.unit)
        else:
            units += found
    _refuse_or_warn(without_columns, units)
    if read is not None:
        check_label_field(units, read)
    units = mark_row_numbers(units, read or ReadSettings())
    written = write_class_labels(units, read or ReadSettings(), workspace)
    shown = _names_given_before(workspace)
    numbered = (replace(u, number=n, shard=shown.get(u.url, u.shard)) for n, u in enumerate(units))
    return Plan(tuple(numbered), written)


class _Unfit(NamedTuple):
    """A Parquet shard without the columns that are needed, and the unit that will say so in the table."""

    unit: Unit
    error: ColumnError


def _refuse_or_warn(without_columns: Sequence[ColumnError], units: Sequence[Unit]) -> None:
    """Where another Parquet shard has the columns, the one without them is damaged or does not belong to the set:
    that costs the shard, not the run."""
    if not without_columns:
        return
    if not any(unit.container == Parquet.name and unit.records >= 0 for unit in units):
        raise without_columns[0]
    for error in without_columns[:_NAMED]:
        _log.warning("%s Other shards have it, so this one counts as unreadable.", error)
    if len(without_columns) > _NAMED:
        _log.warning("... and %d more shards without the columns of the others", len(without_columns) - _NAMED)


def _plan_source(
    source: Source, container: str, unit_size: int, workspace: str, own: RunFiles, read: ReadSettings | None
) -> "list[Unit] | _Unfit":
    if isinstance(source, ImageSet):
        passed_over = PassedOver()
        units = plan_folder(source.folder, source.files(own, passed_over), unit_size, workspace)
        if container == "auto" and passed_over.others:
            raise several_formats(
                source.folder.shown, {"folder": counted(sum(u.records for u in units), "image")} | passed_over.others
            )
        if not units:
            raise PlanError(f"{source.folder.shown}: the folder holds no image files.{what_instead(passed_over.names)}")
        passed_over.log(source.folder.shown)
        return units
    kind = str(container if container != "auto" else format_of(source.url))
    try:
        return list(CONTAINERS[kind].plan(source, unit_size, read))
    except ColumnError as error:
        return _Unfit(Unit(0, kind, source.shown, source.url, 0, 0, 0, -1, source.size, source.version), error)
    except StorageError:
        raise
    except OSError as error:
        # One shard of a disk that cannot be looked at is not the end of the others: its unit says so when it is read.
        _log.warning("%s: could not be planned (%s), and is one unit", source.shown, error)
        stop = source.size if kind == RecordIO.name else 0
        return [Unit(0, kind, source.shown, source.url, 0, stop, 0, -1, source.size, source.version)]


def _names_given_before(workspace: str) -> dict[str, str]:
    place = join(workspace, UNITS.rpartition("/")[2])
    if not exists(place):
        return {}
    try:
        with open_read(place) as stream:
            rows = pq.read_table(stream, columns=["url", "shard"]).to_pydict()
        return dict(zip(rows["url"], rows["shard"], strict=True))
    except (pa.ArrowException, KeyError, OSError) as error:
        if isinstance(error, StorageError):
            raise
        return {}  # resuming it will be refused, with the reason
