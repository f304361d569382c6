"""The plan of a run: its inputs cut into units, without what commands wrote, and with the names of an earlier plan."""

from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq

from fiqa_core.runs.layout import UNITS
from fiqa_core.runs.own_files import RunFiles
from fiqa_core.shards.formats import PlanError
from fiqa_core.shards.plan import Plan, plan_units
from fiqa_core.shards.unit import ReadSettings
from fiqa_core.storage import StorageError, exists, join, open_read

__all__ = ["Plan", "PlanError", "plan_dataset"]


def plan_dataset(
    inputs: Sequence[str], container: str, unit_size: int, workspace: str, read: ReadSettings | None = None
) -> Plan:
    """Cut a dataset into units (see `plan_units`, whose errors it raises).

    Files that scoring and filter runs wrote are not input. Where a run was begun in the workspace before, shards keep
    the names that it gave them (`faces` and `/data/faces` are one), so that a table has one name for each.
    """
    plan = plan_units(inputs, container, unit_size, workspace, RunFiles(workspace), read)
    shown = _names_given_before(workspace)
    return replace(plan, units=tuple(replace(unit, shard=shown.get(unit.url, unit.shard)) for unit in plan.units))


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
