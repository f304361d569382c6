"""The engine for output folders: every kind of run is prepared, refused, resumed and cleared alike."""

import json
import re
from pathlib import Path

import pytest

from fiqa_core.curation.decisions.filter_run import FILTER_RUN
from fiqa_core.runs.differences import as_written, changed, flat, refuse_differences
from fiqa_core.runs.folder import OutputError, RunKind, clear, earlier_run, prepare
from fiqa_core.runs.layout import TEMPORARIES, own_json
from fiqa_core.scoring.run import SCORING_RUN
from fiqa_core.training.training_run import TRAINING_RUN

KIND = RunKind(
    "a toy run",
    "toys",
    "toy.json",
    own_json,
    before=frozenset({TEMPORARIES}),
    own=frozenset({"toy.json", TEMPORARIES, "box", "list.txt"}),
    below={
        TEMPORARIES: re.compile(r"fiqa-[0-9a-f]+"),
        "box": re.compile(r"toy-\d+"),
        "box/*": re.compile(r"part-\d+"),
    },
    swept=(TEMPORARIES,),
    cleared=("list.txt", "box"),
    nothing_finished=lambda output: not (Path(output) / "box").exists(),
)


@pytest.fixture
def output(tmp_path) -> Path:
    (tmp_path / "box" / "toy-1").mkdir(parents=True)
    for name in ("box/toy-1/part-7", "box/toy-2", "list.txt"):
        (tmp_path / name).write_text("ours")
    (tmp_path / "toy.json").write_text(json.dumps({"colour": "red"}))
    return tmp_path


def ready(output: Path, resume: bool = False, overwrite: bool = False) -> dict[str, object] | None:
    return prepare(str(output), KIND, resume, overwrite)


def test_an_earlier_run_needs_one_of_the_flags_and_its_account_is_given_back(output):
    with pytest.raises(OutputError, match=r"holds an earlier run\. --resume keeps its finished toys"):
        ready(output)
    assert ready(output, resume=True) == {"colour": "red"}
    assert earlier_run(str(output), KIND) == {"colour": "red"}
    clear(str(output), KIND)
    assert list(output.iterdir()) == []
    assert ready(output) is None


def test_a_run_that_finished_nothing_does_not_stand_in_the_way_and_left_overs_go(tmp_path):
    (tmp_path / "toy.json").write_text("{}")
    (tmp_path / TEMPORARIES).mkdir()
    (tmp_path / TEMPORARIES / "fiqa-0a").touch()
    assert ready(tmp_path) == {}
    assert earlier_run(str(tmp_path), KIND) is None
    assert [path.name for path in tmp_path.iterdir()] == ["toy.json"]


@pytest.mark.parametrize("name", ["mine.txt", "box/mine", "box/toy-1/mine"])
def test_a_foreign_file_anywhere_keeps_everything_from_being_cleared_and_resume_passes_it(output, name):
    (output / name).write_text("mine")
    before = sorted(output.rglob("*"))
    for refused in (lambda: ready(output, overwrite=True), lambda: clear(str(output), KIND)):
        with pytest.raises(OutputError, match=f"only what a toy run writes is ever removed, .* '{name}'"):
            refused()
    assert sorted(output.rglob("*")) == before
    assert ready(output, resume=True) is not None


@pytest.mark.parametrize("flags", [{}, {"resume": True}, {"overwrite": True}])
@pytest.mark.parametrize("content", [None, "null", "[" * 100_000])
def test_without_an_account_of_such_a_run_nothing_is_resumed_or_overwritten(output, content, flags):
    (output / "toy.json").unlink()
    if content is not None:
        (output / "toy.json").write_text(content)
    said = "not a toy run .there is no toy.json" if content is None else "toy.json: not readable as a toy run's"
    with pytest.raises(OutputError, match=said):
        ready(output, **flags)


@pytest.mark.parametrize("kind", [SCORING_RUN, FILTER_RUN, TRAINING_RUN, KIND], ids=lambda kind: kind.noun)
def test_the_account_and_all_that_is_cleared_is_the_runs_own_and_what_is_swept_has_a_pattern(kind):
    assert {kind.account, *kind.cleared, *kind.before} <= kind.own
    assert kind.account not in kind.cleared
    assert set(kind.swept) <= set(kind.below)


def test_differences_are_told_by_name_then_and_now():
    then = {"size": {"width": 3}, "name": "a", "gone": 1}
    now = {"size": {"width": 4}, "name": "a", "seeds": (1, 2)}
    lines = changed(flat(then), flat(as_written(now)))
    assert lines == ["gone: 1 then, None now", "seeds: None then, [1, 2] now", "size.width: 3 then, 4 now"]
    assert changed(then, now, ["name"]) == []
    refuse_differences("out", [])
    with pytest.raises(OutputError) as refused:
        refuse_differences("out", lines[:1], ["Look again."])
    assert str(refused.value).split("\n") == [
        "out: the earlier run was another one, so --resume would mix two:",
        "  gone: 1 then, None now",
        "Use the earlier settings, or --overwrite, or another --output.",
        "Look again.",
    ]
