"""The output folder: what stands in the way of a run, what --overwrite removes, what --resume does again."""

import json
import os
import shutil
from pathlib import Path

import pandas as pd
import pytest

from fiqa_core.runs.folder import OutputError
from fiqa_core.runs.lock import hold_output
from fiqa_core.runs.plan import plan_dataset
from fiqa_core.scoring.run import begin, close_account, prepare_output, write_summary
from fiqa_core.scoring.score_unit import score_unit
from fiqa_core.scoring.settings import ScoreSettings
from fiqa_core.scoring.summary import Summary, merge
from tests.fakes import MeanScorer
from tests.makers.images import png_bytes

SETTINGS = ScoreSettings("none", "none", "0" * 64)
OTHER_SETTINGS = ScoreSettings("none", "none", "1" * 64)
FACE = png_bytes(1, 16)


@pytest.fixture
def faces(tmp_path) -> Path:
    folder = tmp_path / "faces"
    folder.mkdir()
    for number in range(8):
        (folder / f"{number}.png").write_bytes(FACE)
    return folder


@pytest.fixture
def output(tmp_path) -> Path:
    return tmp_path / "out"


def run(output: Path, *inputs, resume=False, overwrite=False, settings=SETTINGS, units=None) -> int:
    """A whole run without a runner; `units`: the number of units after which it dies. Returns the rows scored."""
    place = str(output)
    with hold_output(place):
        unit_size = prepare_output(place, resume, overwrite) or 4
        plan = plan_dataset([str(i) for i in inputs], "auto", unit_size, f"{place}/plan")
        if begin(place, [str(i) for i in inputs], unit_size, settings, plan, overwrite) is not None:
            return 0
        total = Summary()
        for unit in plan.units[:units]:
            total = merge(total, score_unit(unit, MeanScorer(), settings, place))
        if units is None:
            write_summary(place, len(plan.units), 1.0, settings.to_dict(), total)
            account = close_account(place, plan.units, settings)[1]
            assert account.complete, account.problems
        return total.rows_now


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["quality/mine.parquet", "plan/thesis.txt", "_tmp/draft", "plan/_tmp/x", "notes.md"])
@pytest.mark.parametrize("ours", [True, False])
def test_overwrite_touches_no_folder_that_holds_somebody_else_s_files(output, faces, name, ours):
    if ours:
        run(output, faces)
    (output / name).parent.mkdir(parents=True, exist_ok=True)
    (output / name).write_text("years of work")
    before = everything(output)
    with pytest.raises(
        OutputError, match=Path(name).name.split(".")[0] if ours else "mine|thesis|draft|'plan/_tmp/x|quality|notes"
    ):
        run(output, faces, overwrite=True)
    assert everything(output) == before


@pytest.mark.parametrize("content", ["null", "{}", "[]", '{"inputs": 1}', "{half", '{"settings": {}, "unit_size": 4}'])
def test_overwrite_and_resume_need_a_run_json_that_is_ours(output, faces, content):
    run(output, faces)
    (output / "run.json").write_text(content)
    before = everything(output)
    for flags in ({"overwrite": True}, {"resume": True}, {}):
        with pytest.raises(OutputError, match=r"run\.json: not readable as a scoring run's"):
            run(output, faces, **flags)
    assert everything(output) == before


def test_overwrite_without_a_run_json_keeps_a_finished_table(output, faces):
    run(output, faces)
    (output / "run.json").unlink()
    before = everything(output)
    with pytest.raises(OutputError, match="not a scoring run"):
        run(output, faces, overwrite=True)
    assert everything(output) == before


def test_overwrite_removes_all_that_the_earlier_run_left(output, faces):
    run(output, faces)
    earlier = set(everything(output))
    (faces / "0.png").unlink()
    assert run(output, faces, overwrite=True, settings=OTHER_SETTINGS) == 7
    assert len(list((output / "quality").iterdir())) == 2
    assert not {name for name in earlier if name.startswith("quality")} & set(everything(output))


def test_a_sweep_removes_no_temporary_that_is_not_ours(output, faces):
    (output / "_tmp").mkdir(parents=True)
    (output / "_tmp" / "letter.txt").write_text("dear")
    with pytest.raises(OutputError, match=r"_tmp/letter\.txt"):
        run(output, faces)
    assert (output / "_tmp" / "letter.txt").exists()


def test_a_run_that_was_begun_and_scored_nothing_does_not_block_its_output(output, faces):
    run(output, faces, settings=OTHER_SETTINGS, units=0)
    assert json.loads((output / "run.json").read_text())["units"] == 2
    assert run(output, faces) == 8
    run(shutil.copytree(output, output.with_name("copy")), faces, resume=True)
    with pytest.raises(OutputError, match="holds an earlier run"):
        run(output, faces)


def test_a_run_that_died_while_it_planned_does_not_block_its_output(output, faces):
    for name in ("plan/files-0123456789ab.parquet", "plan/units.parquet", "plan/_tmp/fiqa-01", "_tmp/fiqa-02"):
        (output / name).parent.mkdir(parents=True, exist_ok=True)
        (output / name).write_bytes(b"half")
    (output / "quality").mkdir()
    assert run(output, faces) == 8
    assert not list(output.rglob("fiqa-*"))


def test_a_run_with_finished_units_and_other_settings_is_refused(output, faces):
    run(output, faces, units=1)
    with pytest.raises(OutputError, match="checkpoint_sha256"):
        run(output, faces, resume=True, settings=OTHER_SETTINGS)
    assert run(output, faces, resume=True) == 4


@pytest.mark.parametrize("complete", [True, False])
@pytest.mark.parametrize("damage", ["cut short", "empty", "pages overwritten"])
def test_a_damaged_quality_file_is_scored_again(output, faces, damage, complete):
    run(output, faces)
    expected = everything(output / "quality")
    file = output / "quality" / min(expected)
    data = bytearray(file.read_bytes())
    if damage == "pages overwritten":
        data[4:1500] = b"\xff" * 1496
    file.write_bytes({"cut short": data[:-20], "empty": b""}.get(damage, data))
    if not complete or damage == "pages overwritten":  # whole pages are read where units are gone over, no earlier
        (output / "summary.json").unlink()
    assert run(output, faces, resume=True) == 4
    assert everything(output / "quality") == expected


def test_changed_content_of_an_image_is_seen_by_resume(output, faces):
    run(output, faces)
    (faces / "3.png").write_bytes(png_bytes(2, 16))
    os.utime(faces / "3.png", (1, 1))
    with pytest.raises(OutputError, match=f"{faces}: its content changed"):
        run(output, faces, resume=True)


def test_an_input_written_in_another_way_is_resumed_and_keeps_its_name_in_the_table(output, faces, monkeypatch):
    monkeypatch.chdir(faces.parent)
    run(output, "faces", units=1)
    assert run(output, f"{faces}/", resume=True) == 4
    assert set(pd.read_parquet(output / "quality").shard) == {"faces"}
    assert run(output, "../" + faces.parent.name + "/faces", resume=True) == 0


def test_an_output_inside_its_input_is_resumed_and_left_out_of_later_runs(faces, tmp_path):
    run(faces / "out", faces, units=1)
    assert run(faces / "out", faces, resume=True) == 4
    assert run(tmp_path / "later", faces) == 8
    assert run(faces / "out", faces, resume=True) == 0


def test_an_output_whose_name_is_no_text_is_refused(tmp_path, faces):
    output = os.fsdecode(os.fsencode(tmp_path) + b"/\xe9")
    with pytest.raises(OutputError, match=r"\\xe9: this name is not valid UTF-8"):
        prepare_output(output, False, False)
