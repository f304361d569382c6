"""Parquet with image bytes: a struct column {bytes, path} as Hugging Face writes it, or a binary column."""

import bisect
from collections.abc import Iterator, Sequence, Set

import pyarrow as pa
import pyarrow.parquet as pq

from fiqa_core.shards.column_labels import find_label
from fiqa_core.shards.container import Container, picked
from fiqa_core.shards.image_columns import ColumnError, ImageColumns
from fiqa_core.shards.parquet.groups import FOOTER_BLOCK, RowGroups, is_store_failure
from fiqa_core.shards.parquet.row_numbers import mark_row_numbers, passed_over
from fiqa_core.shards.parquet.writer import ParquetShards
from fiqa_core.shards.unit import Fault, ReadSettings, Record, Unit
from fiqa_core.storage import StorageError, StoredFile, open_read
from fiqa_core.wording import counted, one_line
from schemas.reasons import Status


class Parquet(Container):
    """A unit is a run of row groups or of rows of one; a record is a row, its key the image's path or its number."""

    name = "parquet"
    has_key_field = True
    suffixes = (".parquet", ".pq")
    output = ParquetShards()

    def plan(self, file: StoredFile, unit_size: int, settings: ReadSettings | None = None) -> Iterator[Unit]:
        """Whole row groups, until a unit has at least `unit_size` rows; a group of twice as many is cut by rows.

        Raises:
            ColumnError: `settings` are given, and the file has no column for the image, or not the one named
                for image or label.
        """
        try:
            with open_read(file.url, file.version, FOOTER_BLOCK) as stream:
                groups = RowGroups(stream)
                if settings is not None:
                    ImageColumns(groups.schema, settings, file.url)
        except ColumnError as error:
            raise ColumnError(f"{file.shown}: {error}") from error
        except Exception as error:
            if is_store_failure(error):
                raise
            # Reading it will fail in the same way and give the shard's row, with the reason.
            yield self.whole(file)
            return
        for run in groups.runs(unit_size):
            yield Unit(
                0, self.name, file.shown, file.url, run.start, run.stop, run.first, run.rows, run.size, file.version
            )

    def settle(self, units: Sequence[Unit], settings: ReadSettings) -> Sequence[Unit]:
        """Exclude columns that only number rows from being the label, in all shards alike."""
        return mark_row_numbers(units, settings)

    def class_names(self, units: Sequence[Unit], settings: ReadSettings) -> tuple[str, Sequence[str]] | None:
        """The column and the names of a ClassLabel feature, as the first readable shard has them."""
        unit = next((unit for unit in units if unit.records > 0), None)
        if unit is None:
            return None
        try:
            with open_read(unit.url, "", FOOTER_BLOCK) as stream:
                schema = pq.ParquetFile(stream).schema_arrow
                label = find_label(schema, settings.label_field, settings.image_field, unit.url)
        except StorageError:
            raise
        except (pa.ArrowException, OSError, EOFError, UnicodeDecodeError, KeyError):
            return None  # reading it will report this
        return None if label.classes is None else (label.column, label.classes)

    def read_at(self, unit: Unit, settings: ReadSettings, wanted: Sequence[int]) -> Iterator[Record]:
        """The row groups that have the rows: Arrow cannot enter one in the middle."""
        if unit.records < 0:
            yield from picked(self, unit, settings, wanted)
            return
        with open_read(unit.url, unit.version) as stream:
            try:
                groups = RowGroups(stream)
                columns = ImageColumns(groups.schema, settings, unit.url, passed_over(unit))
            except Exception as error:
                if is_store_failure(error):
                    raise
                return
            first = place = 0
            for group, rows in enumerate(groups.rows):
                stop = bisect.bisect_left(wanted, first + rows)
                if stop > place:
                    here = wanted[place:stop]
                    begin, end = here[0], here[-1] + 1
                    limit = settings.max_stored_bytes
                    yield from _read_group(groups, group, columns, begin, end, begin - first, limit, frozenset(here))
                place, first = stop, first + rows

    def read(self, unit: Unit, settings: ReadSettings) -> Iterator[Record]:
        """One record a row. Damage costs the rows behind it in its row group; each gets a record with the reason."""
        with open_read(unit.url, unit.version) as stream:
            try:
                groups = RowGroups(stream)
                columns = ImageColumns(groups.schema, settings, unit.url, passed_over(unit))
            except Exception as error:
                if is_store_failure(error):
                    raise
                yield Record(None, unit.first_index, None, None, Fault(Status.SHARD_UNREADABLE, one_line(error, 1000)))
                return
            if unit.records < 0:
                raise StorageError(f"{unit.url}: could not be read when it was planned; start the run again")
            end = unit.first_index + unit.records
            if unit.stop > len(groups.rows) or end > sum(groups.rows[: unit.stop]):
                raise StorageError(f"{unit.url}: has fewer rows than when it was planned; start the run again")
            first = sum(groups.rows[: unit.start])
            for group in range(unit.start, unit.stop):
                stop = min(end, first + groups.rows[group])
                skip = max(0, unit.first_index - first)
                yield from _read_group(groups, group, columns, first + skip, stop, skip, settings.max_stored_bytes)
                first += groups.rows[group]


def _read_group(
    groups: RowGroups, group: int, columns: ImageColumns, index: int, stop: int, skip: int, limit: int,
    wanted: Set[int] | None = None,
) -> Iterator[Record]:  # fmt: skip
    """The rows `index` to `stop` of the file, which lie in this group behind its first `skip` rows; `wanted`: only
    these of them."""
    try:
        batches = groups.batches(group, columns.wanted, skip)
        while index < stop and (batch := next(batches, None)) is not None:
            batch = batch.slice(0, stop - index)
            if wanted is not None:
                chosen = [place for place in range(len(batch)) if index + place in wanted]
                for place in chosen:
                    yield from columns.records(batch.slice(place, 1), index + place, limit)
                index += len(batch)
                continue
            for row in columns.records(batch, index, limit):
                yield row
                index += 1
        rows = counted(groups.rows[group], "row is", "rows are")
        reason = f"{rows} named in the footer, but its pages end before this one"
    except Exception as error:
        if is_store_failure(error):
            raise
        reason = one_line(error, 1000)
    for lost in range(index, stop) if wanted is None else sorted(each for each in wanted if each >= index):
        yield Record(str(lost), lost, None, None, Fault(Status.UNREADABLE, f"row group {group}: {reason}"))
