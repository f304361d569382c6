"""A Parquet shard that has lost a column, and shards that the disk does not give: never the end of the others."""

import errno
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fiqa_core.runs.plan import PlanError, plan_dataset
from fiqa_core.shards.formats import container_of
from fiqa_core.shards.parquet.reader import ColumnError
from fiqa_core.shards.unit import ReadSettings, Record
from fiqa_core.storage import reading
from pipelines.score_dataset import EXIT_INCOMPLETE, run
from schemas.reasons import Status
from tests.fakes import MeanScorerSource
from tests.makers.containers import face_records, samples, write_parquet_pyarrow, write_tar
from tests.makers.images import png_bytes
from tests.makers.recordio import payload, write_rec

FACES = [png_bytes(seed, 20) for seed in range(3)]


def write(path: Path, image: str = "image", label: str = "label") -> Path:
    pq.write_table(pa.table({image: pa.array(FACES), label: ["a", "b", "c"]}), path)
    return path


def renamed(path: Path, column: str) -> Path:
    """Damage the footer so that it still parses: one letter of a column's name is another."""
    data = write(path).read_bytes()
    wanted = column.encode()
    path.write_bytes(data.replace(wanted, b"\x01" + wanted[1:]))
    return path


def read(root: Path, work: Path, **settings: str) -> list[tuple[str, Record]]:
    read_as = ReadSettings(**settings)
    plan = plan_dataset([str(root)], "auto", 100, str(work), read_as)
    return [(Path(u.shard).name, r) for u in plan.units for r in container_of(u).read(u, read_as)]


@pytest.mark.parametrize(
    "settings", [{"image_field": "image"}, {"label_field": "label"}], ids=["image column", "label column"]
)
def test_a_shard_that_lost_a_named_column_is_its_row_where_others_have_it(tmp_path, settings, caplog):
    (name,) = settings.values()
    (tmp_path / "in").mkdir()
    write(tmp_path / "in" / "a.parquet")
    renamed(tmp_path / "in" / "b.parquet", name)
    write(tmp_path / "in" / "c.parquet")
    found = read(tmp_path / "in", tmp_path / "w", **settings)
    assert [shard for shard, _ in found] == ["a.parquet"] * 3 + ["b.parquet"] + ["c.parquet"] * 3
    fault = found[3][1].fault
    assert fault is not None
    assert fault.status is Status.SHARD_UNREADABLE
    assert f"'{name}' cannot be" in fault.message
    assert "b.parquet" in caplog.text
    (tmp_path / "in" / "a.parquet").unlink()
    (tmp_path / "in" / "c.parquet").unlink()
    with pytest.raises(ColumnError, match=r"b\.parquet"):
        read(tmp_path / "in", tmp_path / "w", **settings)


def test_a_shard_without_an_image_column_among_good_ones_ends_the_command_with_3_and_is_named(tmp_path, caplog, capsys):
    (tmp_path / "in").mkdir()
    write(tmp_path / "in" / "a.parquet")
    pq.write_table(pa.table({"text": ["no", "image"]}), tmp_path / "in" / "b.parquet")
    out = tmp_path / "out"
    assert run(["--input", str(tmp_path / "in"), "--output", str(out)], MeanScorerSource()) == EXIT_INCOMPLETE
    assert "b.parquet: expected one column of images" in caplog.text
    assert "1 shard could not be read completely:" in capsys.readouterr().out
    table = pq.read_table(out / "quality").to_pylist()
    assert [row["status"] for row in table] == ["scored"] * 3 + ["shard_unreadable"]


def test_a_column_that_no_shard_has_ends_the_command(tmp_path):
    (tmp_path / "in").mkdir()
    for name in "ab":
        write(tmp_path / "in" / f"{name}.parquet")
    with pytest.raises(ColumnError, match="nosuch"):
        read(tmp_path / "in", tmp_path / "w", label_field="nosuch")


def write_shard(kind: str, path: Path) -> None:
    records = face_records(4, size=20)
    if kind == "tar":
        write_tar(path.with_suffix(".tar"), samples(records))
    elif kind == "parquet":
        write_parquet_pyarrow(path.with_suffix(".parquet"), records)
    else:
        write_rec(path.with_suffix(".rec"), [payload(r.data, float(r.label), n) for n, r in enumerate(records)])


def failing(monkeypatch, name: str, number: int, times: int) -> None:
    """The disk refuses to open the file of this name, so many times."""
    real, left = os.open, [times]

    def opened(path, *arguments, **options):
        if os.fspath(path).rpartition("/")[2] == name and left[0]:
            left[0] -= 1
            raise OSError(number, os.strerror(number), path)
        return real(path, *arguments, **options)

    monkeypatch.setattr(reading.os, "open", opened)


@pytest.mark.parametrize("number", [errno.EACCES, errno.ENOENT], ids=["no permission", "vanished"])
@pytest.mark.parametrize("kind", ["tar", "parquet", "rec"])
def test_a_shard_that_cannot_be_opened_is_a_failed_unit_and_the_others_are_scored(
    tmp_path, kind, number, monkeypatch, capsys
):
    (tmp_path / "in").mkdir()
    for name in "abc":
        write_shard(kind, tmp_path / "in" / name)
    failing(monkeypatch, f"b.{kind}", number, 1000)
    out = tmp_path / "out"
    assert run(["--input", str(tmp_path / "in"), "--output", str(out)], MeanScorerSource()) == EXIT_INCOMPLETE
    said = capsys.readouterr().out
    assert f"b.{kind} failed: " in said
    assert os.strerror(number) in said
    assert pq.read_table(out / "quality").num_rows == 8


@pytest.mark.parametrize("kind", ["tar", "parquet", "rec"])
def test_a_disk_that_fails_once_costs_no_image(tmp_path, kind, monkeypatch):
    (tmp_path / "in").mkdir()
    for name in "ab":
        write_shard(kind, tmp_path / "in" / name)
    failing(monkeypatch, f"b.{kind}", errno.EIO, 1)
    out = tmp_path / "out"
    code = run(["--input", str(tmp_path / "in"), "--output", str(out)], MeanScorerSource())
    statuses = pq.read_table(out / "quality")["status"].to_pylist() if (out / "quality").exists() else []
    # A footer that could not be read when the set was planned leaves a unit that asks for another run.
    assert (code, len(statuses)) == ((EXIT_INCOMPLETE, 4) if kind == "parquet" else (0, 8))
    assert set(statuses) == {"scored"}


@pytest.mark.parametrize("kind", ["tar", "parquet", "rec"])
def test_a_shard_that_is_gone_when_it_is_listed_is_refused_by_name(tmp_path, kind):
    write_shard(kind, tmp_path / "a")
    (tmp_path / f"a.{kind}").unlink()
    with pytest.raises(PlanError, match=rf"a\.{kind}: no such file"):
        plan_dataset([str(tmp_path / f"a.{kind}")], "auto", 10, str(tmp_path / "w"), ReadSettings())
