"""From what the user names (URIs, globs, folders) to a numbered list of units."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from fiqa_core.shards.container import Surroundings, UnfitShardError
from fiqa_core.shards.formats import AUTO, CONTAINERS, PlanError, what_instead
from fiqa_core.shards.label_plan import check_key_field, check_label_field, write_class_names
from fiqa_core.shards.sources import (
    ImageSet,
    OwnFiles,
    PassedOver,
    Source,
    container_for,
    find_sources,
    several_formats,
)
from fiqa_core.shards.unit import ReadSettings, Unit
from fiqa_core.storage import StorageError, in_flight
from fiqa_core.wording import counted

_log = logging.getLogger(__name__)
_NAMED = 20
_PLANNED_AT_ONCE = 16  # shards whose footers are read at the same time: planning waits for the store, not for a core


@dataclass(frozen=True)
class Plan:
    """The units of a dataset; `written`: files of the workspace that no unit refers to."""

    units: tuple[Unit, ...]
    written: tuple[str, ...] = ()

    @property
    def records(self) -> int | None:
        """Number of records that are read, None if only reading shows it."""
        counts = [unit.rows for unit in self.units]
        return None if -1 in counts else sum(counts)


def plan_units(
    inputs: Sequence[str],
    container: str,
    unit_size: int,
    workspace: str,
    own: OwnFiles,
    read: ReadSettings | None = None,
) -> Plan:
    """Cut a dataset into units.

    Args:
        inputs: URIs or local paths of shards, image files or folders, with globs.
        container: a name of `CONTAINERS`, or `auto` to tell by the files' names.
        unit_size: records a unit, as `Container.plan` says.
        workspace: folder URI for listings that units refer to.
        own: knows which files commands wrote; they are skipped.
        read: how records will be read, to refuse shards that lack the fields it names; None: no such check.

    Raises:
        PlanError: an input that does not exist, of no known format, or of several.
        UnfitShardError: no shard of a format has what `read` names. (One without it among others is one unit that
            cannot be read.)
    """
    units: list[Unit] = []
    sources = find_sources(inputs, container, own)
    around = Surroundings(workspace, len(sources))
    plans = in_flight(sources, lambda s: _plan_source(s, container, unit_size, around, own, read), _PLANNED_AT_ONCE)
    unfit: list[_Unfit] = []
    for found in plans:
        if isinstance(found, _Unfit):
            unfit.append(found)
            units.append(found.unit)
        else:
            units += found
    _refuse_or_warn(unfit, units)
    if read is not None:
        check_label_field(units, read)
        check_key_field(units, read)
    units = _settled(units, read or ReadSettings())
    written = write_class_names(units, read or ReadSettings(), workspace)
    return Plan(tuple(replace(unit, number=number) for number, unit in enumerate(units)), written)


class _Unfit(NamedTuple):
    """A shard that lacks what the settings name, and the unit that will report it in the table."""

    unit: Unit
    error: UnfitShardError


def _refuse_or_warn(unfit: Sequence[_Unfit], units: Sequence[Unit]) -> None:
    """If other shards of the format have what is needed, a shard without it is damaged or does not belong to the
    dataset: it costs the shard, not the run."""
    fit = {unit.container for unit in units if unit.records >= 0}
    for unit, error in unfit:
        if unit.container not in fit:
            raise error
    for _, error in unfit[:_NAMED]:
        _log.warning("%s Other shards have it, so this one counts as unreadable.", error)
    if len(unfit) > _NAMED:
        _log.warning("... and %d more shards without the columns of the others", len(unfit) - _NAMED)


def _settled(units: Sequence[Unit], read: ReadSettings) -> list[Unit]:
    """The units after each format has taken the decisions that concern all its shards."""
    names = dict.fromkeys(unit.container for unit in units)
    settled = {name: iter(CONTAINERS[name].settle([u for u in units if u.container == name], read)) for name in names}
    return [next(settled[unit.container]) for unit in units]


def _plan_source(
    source: Source, container: str, unit_size: int, around: Surroundings, own: OwnFiles, read: ReadSettings | None
) -> Sequence[Unit] | _Unfit:
    if isinstance(source, ImageSet):
        passed_over = PassedOver()
        kind = source.container
        units = kind.plan_files(source.folder, source.files(own, passed_over), unit_size, around.workspace)
        if container == AUTO and passed_over.others:
            raise several_formats(
                source.folder.shown, {kind.name: counted(sum(u.records for u in units), "image")} | passed_over.others
            )
        if not units:
            raise PlanError(f"{source.folder.shown}: the folder holds no image files.{what_instead(passed_over.names)}")
        passed_over.log(source.folder.shown)
        return units
    shard = container_for(source, container)
    try:
        return list(shard.plan_among(source, unit_size, read, around))
    except UnfitShardError as error:
        return _Unfit(shard.whole(source), error)
    except StorageError:
        raise
    except OSError as error:
        # One shard that the disk cannot read must not stop the others: reading its unit reports it.
        _log.warning("%s: could not be planned (%s), and is one unit", source.shown, error)
        return [shard.whole(source)]
