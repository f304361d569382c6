"""The one program, and what its commands have in common: names, help, examples, misspelt and old options."""

import argparse
import logging
import re
import shlex
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from pipelines import (
    align_dataset,
    atlas_dataset,
    calibrate_scores,
    clean_dataset,
    embed_dataset,
    evaluate_quality,
    export_onnx,
    export_scores,
    filter_dataset,
    import_scores,
    list_networks,
    measure_baselines,
    original_scores,
    prepare_benchmark,
    report_dataset,
    score_dataset,
    show_faces,
    train_fiqa,
)
from pipelines.cli import doctor
from pipelines.cli.evaluation_options import parser as evaluation_parser
from pipelines.cli.parser import Parser, nearest
from pipelines.cli.policy_options import policy_of
from pipelines.cli.program import called, called_by, runnable
from pipelines.fiqa import COMMANDS, USUAL, main
from tests.fakes import MeanScorerSource
from tests.fiqa_core.curation.tables import frame, write_quality
from tests.makers.containers import face_records, write_folder

ROOT = Path(__file__).resolve().parents[2]
PARSERS = {
    "score": score_dataset.make_parser,
    "embed": embed_dataset.make_parser,
    "align": align_dataset.make_parser,
    "filter": filter_dataset.make_parser,
    "evaluate": evaluation_parser,
    "calibrate": calibrate_scores.make_parser,
    "train": train_fiqa.make_parser,
    "baselines": measure_baselines.make_parser,
    "show": show_faces.make_parser,
    "export": export_scores.make_parser,
    "import-scores": import_scores.make_parser,
    "prepare-benchmark": prepare_benchmark.make_parser,
    "original-scores": original_scores.make_parser,
    "report": report_dataset.make_parser,
    "atlas": atlas_dataset.make_parser,
    "clean": clean_dataset.make_parser,
    "networks": list_networks.make_parser,
    "export-onnx": export_onnx.make_parser,
}
# Enough for the options that a command needs.
NEEDED = {
    "score": ["--input", "i", "--output", "o"],
    "embed": ["--input", "i", "--output", "o", "--model", "m.onnx"],
    "align": ["--input", "i", "--output", "o"],
    "filter": ["--quality", "q", "--dry-run"],
    "evaluate": ["--embeddings", "fr=e", "--pairs", "p", "--output", "o"],
    "calibrate": ["--quality", "q", "--embeddings", "fr=e", "--output", "o"],
    "train": ["--config", "c"],
    "baselines": ["--measure", "laplacian", "--input", "i", "--output", "o"],
    "show": ["--quality", "q", "--output", "o.png"],
    "export": ["--quality", "q", "--to", "csv", "--output", "o"],
    "import-scores": ["--scores", "s", "--output", "o"],
    "prepare-benchmark": ["--pairs", "p", "--data-dir", "d", "--name", "n"],
    "original-scores": ["--datasets", "a", "--model_path", "m"],
    "report": ["--quality", "q", "--output", "o.html"],
    "networks": [],
    "export-onnx": ["--output", "o.onnx"],
    "atlas": ["--quality", "q", "--output", "o"],
    "clean": ["--input", "i", "--output", "o"],
}


def test_every_command_is_a_line_of_the_table_with_a_module_that_runs():
    assert {*COMMANDS} == {*PARSERS, "doctor"}
    for command in COMMANDS.values():
        assert callable(import_module(command.module).run)


def test_without_a_command_the_usual_three_are_shown_and_they_parse(capsys):
    assert main([]) == 0
    shown = capsys.readouterr().out
    for line, purpose in USUAL:
        assert f"  fiqa {line}" in shown
        assert purpose in shown
        name, *words = shlex.split(line)
        assert PARSERS[name]().parse_known_args(words)[1] == []
    assert all(f"  {name} " in shown for name in COMMANDS)


def test_the_version_is_that_of_the_package(capsys):
    from schemas.versions import PACKAGE_VERSION

    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith(f"fiqa-pipelines {PACKAGE_VERSION} ")


def test_a_command_that_does_not_exist_is_refused_with_the_nearest(capsys):
    assert main(["scroe", "--input", "x"]) == 2
    assert capsys.readouterr().err == (
        "fiqa: unknown command 'scroe'. Did you mean score?\nAll commands: fiqa --help\n"
    )


def test_the_beginning_of_a_commands_name_is_answered_with_that_command(capsys):
    assert main(["import", "--scores", "x"]) == 2
    assert "Did you mean import-scores?" in capsys.readouterr().err


def test_usage_and_errors_call_the_command_as_its_user_did(capsys):
    assert main(["score", "--input", "x"]) == 2
    assert capsys.readouterr().err.startswith("fiqa score: the following arguments are required: --output\n")
    assert main(["help", "filter"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("usage: fiqa filter --quality URI [URI ...] [options]")
    assert "\n  fiqa filter --quality scores --drop-worst 0.05 --dry-run\n" in shown
    with pytest.raises(SystemExit):
        score_dataset.run(["--input", "x"])
    assert capsys.readouterr().err.startswith("python -m pipelines.score_dataset: the following")


def test_the_program_is_also_a_module():
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.fiqa", "score", "--input", "x"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.startswith("python -m pipelines.fiqa score: the following arguments are required")


def test_the_next_step_is_called_as_this_command_was(tmp_path, capsys):
    assert called("filter_dataset") == "python -m pipelines.filter_dataset"
    with called_by({"filter_dataset": "fiqa filter"}):
        assert runnable("filter_dataset").endswith("fiqa filter")
        faces = write_folder(tmp_path / "faces", face_records(3))
        command = ["--input", str(faces), "--output", str(tmp_path / "out")]
        assert score_dataset.run(command, MeanScorerSource()) == 0
    then = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("then: "))
    assert "fiqa filter --quality" in then


def _options(parser: Parser) -> list[argparse.Action]:
    return [action for action in parser._actions if action.help is not argparse.SUPPRESS]


@pytest.mark.parametrize("name", PARSERS)
def test_the_help_of_a_command_has_two_examples_and_they_parse(name):
    parser = PARSERS[name]()
    assert len(parser.examples) == 2
    shown = parser.format_all()
    for example in parser.examples:
        assert f"  {parser.prog} {example}".rstrip() + "\n" in shown
        assert parser.parse_known_args(shlex.split(example))[1] == []


@pytest.mark.parametrize("name", PARSERS)
def test_every_option_is_in_a_group_and_its_help_says_its_default(name):
    parser = PARSERS[name]()
    general = {action.dest for action in parser._optionals._group_actions}
    assert general == {"help", "help_all", "debug"}
    formatter = parser._get_formatter()
    for action in _options(parser):
        assert action.help, action.option_strings
        if action.nargs != 0 and not isinstance(action, argparse.BooleanOptionalAction):
            text = formatter._expand_help(action)
            assert "default" in text or "required" in text, f"{action.option_strings}: {text}"


# Two screens of 40 lines, in a window of 100 columns.
SCREENS, WIDTH = 2 * 40, 100


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_every_command_fits_two_screens_and_names_the_help_with_all_options(name, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    assert main([name, "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= SCREENS
    assert any(f"fiqa {name} --help-all" in line or "--help-all  " in line for line in lines)


@pytest.mark.parametrize("name", PARSERS)
def test_every_option_is_in_the_help_with_all_options_and_its_text_is_the_same_in_both(name, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    parser = PARSERS[name]()
    everything, usual = parser.format_all().splitlines(), parser.format_help().splitlines()
    for option in {option for action in _options(parser) for option in action.option_strings}:
        assert any(option in line.replace(",", " ").split() for line in everything), option
    shown = [line for line in usual if line.startswith("  -")]
    assert [line for line in everything if line in shown] == shown
    if parser.usual is None:
        assert usual == everything
    else:
        known = {option for action in _options(parser) for option in action.option_strings}
        assert parser.usual <= known
        hidden = sum(line.startswith("  -") for line in everything) - len(shown)
        assert f"{hidden} more: {parser.prog} --help-all" in usual[-1]


def test_help_all_is_printed_without_the_options_that_a_command_needs(capsys):
    assert main(["score", "--help-all"]) == 0
    assert "--label-field NAME" in capsys.readouterr().out
    assert main(["score", "--help"]) == 0
    assert "--label-field" not in capsys.readouterr().out


def test_one_name_is_one_kind_of_thing_in_every_command():
    kinds: dict[str, set[str]] = {}
    for make in PARSERS.values():
        for action in _options(make()):
            kind = "flag" if action.nargs == 0 else "choice" if action.choices else "value"
            for option in action.option_strings:
                kinds.setdefault(option, set()).add(kind)
    assert {option: kind for option, kind in kinds.items() if len(kind) > 1} == {}
    assert not {"--checkpoint", "--teacher"} & kinds.keys()


@pytest.mark.parametrize(
    ("name", "old", "new", "dest", "value"),
    [
        ("score", ["--checkpoint", "m.pt"], "--model", "model", "m.pt"),
        ("score", ["--checkpoint=m.pt"], "--model", "model", "m.pt"),
        ("embed", ["--checkpoint", "m.pt"], "--model", "model", "m.pt"),
        ("score", ["--embeddings", "float16"], "--embedding-type", "embedding_type", "float16"),
        ("embed", ["--embeddings=float16"], "--embedding-type", "embedding_type", "float16"),
        ("train", ["--teacher", "t.onnx"], "--teacher-model", "setting_teacher_model", "t.onnx"),
    ],
)
def test_an_old_spelling_still_works_with_a_warning_and_is_not_in_the_help(name, old, new, dest, value):
    parser = PARSERS[name]()
    arguments, rest = parser.parse_known_args([*NEEDED[name], *old])
    assert getattr(arguments, dest) == value
    assert rest == []
    spelling = old[0].partition("=")[0]
    assert parser.warnings == [f"{spelling} is now called {new}; the old name goes in the next release"]
    assert f"{spelling} " not in parser.format_all()


def test_a_command_with_an_old_spelling_warns_once_in_its_log(tmp_path, caplog):
    path = str(tmp_path / "none.pt")
    command = ["--input", str(tmp_path / "none"), "--output", str(tmp_path / "out"), "--checkpoint", path]
    assert score_dataset.run(command) == 2
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings == ["--checkpoint is now called --model; the old name goes in the next release"]


@pytest.mark.parametrize(
    ("words", "wrong", "exact", "warnings"),
    [
        ([], False, True, 0),
        (["--drop-wrong-labels"], True, True, 0),
        (["--no-drop-wrong-labels", "--no-overlap-exact"], False, False, 0),
        (["--drop-wrong-labels", "on"], True, True, 1),
        (["--drop-wrong-labels=true", "--overlap-exact", "off"], True, False, 2),
        (["--drop-wrong-labels", "FALSE"], False, True, 1),
    ],
)
def test_switches_of_the_policy_are_flags_and_on_and_off_are_old_spellings(words, wrong, exact, warnings):
    parser = filter_dataset.make_parser()
    arguments, rest = parser.parse_known_args([*NEEDED["filter"], *words])
    policy = policy_of(arguments)
    assert (policy.labels.drop_wrong, policy.overlap.exact) == (wrong, exact)
    assert len(parser.warnings) == warnings
    assert rest == []


@pytest.mark.parametrize("name", [name for name in PARSERS if name != "train"])
def test_for_an_option_misspelt_by_a_letter_one_of_ours_is_proposed(name, tmp_path, caplog):
    """Every option of every command, with a letter left out: what is proposed is an option of that command."""
    proposals = PARSERS[name]().proposals()
    for option in proposals:
        if len(option) > 7:
            assert nearest(option[:5] + option[6:], proposals) in proposals.values()


@pytest.mark.parametrize(
    ("run", "name", "option", "meant"),
    [
        (score_dataset.run, "score", "--min_side", "--min-side"),
        (score_dataset.run, "score", "--worker", "--workers"),
        (score_dataset.run, "score", "--chekpoint", "--model"),
        (score_dataset.run, "score", "--label-feild=x", "--label-field"),
        (embed_dataset.run, "embed", "--onnx-men", "--onnx-mean"),
        (filter_dataset.run, "filter", "--min-qualty", "--min-quality"),
        (filter_dataset.run, "filter", "--drop-wrong-label", "--drop-wrong-labels"),
        (measure_baselines.run, "baselines", "--decode_treads", "--decode-threads"),
        (evaluate_quality.run, "evaluate", "--bootstrp", "--bootstrap"),
    ],
)
def test_did_you_mean_proposes_our_option_and_none_of_beam(run, name, option, meant, caplog, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    more = ["--no-plots"] if name == "evaluate" else []
    assert run([*NEEDED[name], *more, option, "3"]) == 2
    assert f"Did you mean {meant}?" in caplog.text
    assert not list(tmp_path.iterdir())


def test_did_you_mean_proposes_an_option_of_beam_only_for_one_spelt_like_it(caplog):
    assert score_dataset.run([*NEEDED["score"], "--direct_num_worker", "2"]) == 2
    assert "Did you mean Beam's --direct_num_workers?" in caplog.text
    caplog.clear()
    assert score_dataset.run([*NEEDED["score"], "--zone-of-worker", "2"]) == 2
    assert "Did you mean" not in caplog.text


def test_a_network_to_evaluate_does_not_let_a_misspelt_option_pass(caplog, tmp_path):
    flags = ["--embeddings", "fr=model.onnx", "--pairs", "p", "--output", str(tmp_path / "out"), "--no-plots"]
    assert evaluate_quality.run([*flags, "--onnx-men", "128"]) == 2
    assert "unknown option --onnx-men. Did you mean --onnx-mean?" in caplog.text


def test_a_misspelt_option_is_named_where_the_right_one_is_missing(capsys):
    assert main(["score", "--inptu", "x", "--output", "y"]) == 2
    assert "--inptu: did you mean --input?" in capsys.readouterr().err


@pytest.mark.parametrize(
    "option",
    [
        *(["--model", "m.pt"], ["--checkpoint", "m.pt"], ["--precision", "int8"], ["--batch-size", "8"]),
        *(["--device", "cuda"], ["--embedding-type", "float16"], ["--heads", "3"], ["--arch", "vit_s"]),
        *(["--scoring-process", "on"], ["--compile", "on"], ["--gpu", "nvidia-l4"], ["--threads", "2"]),
    ],
)
def test_baselines_take_no_option_of_a_network(option, tmp_path, caplog):
    faces = write_folder(tmp_path / "faces", face_records(2))
    command = ["--measure", "laplacian", "--input", str(faces), "--output", str(tmp_path / "out"), *option]
    assert measure_baselines.run(command) == 2
    assert f"unknown option {option[0]}" in caplog.text
    assert not (tmp_path / "out").exists()


def test_the_doctor_names_versions_devices_stores_extras_and_disk(capsys, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "AWS_ACCESS_KEY_ID"):
        monkeypatch.setenv(name, str(tmp_path / "key.json"))
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY", raising=False)
    monkeypatch.delenv("FSSPEC_GS_TOKEN", raising=False)
    assert main(["doctor"]) == 0
    shown = capsys.readouterr().out
    for text in ("Python 3.", "torch ", "apache-beam ", "CPU: ", "temporary files: ", "every command can start"):
        assert text in shown
    assert "s3:// inputs and outputs: not installed: pip install -e '.[s3]'" in shown
    assert "s3fs is not installed" in shown
    assert "not installed: pip install -e '.[report]'" in shown
    assert "key.json (GOOGLE_APPLICATION_CREDENTIALS), WHICH IS NOT THERE" in shown


def test_the_doctor_knows_every_extra_and_every_package_of_this_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(doctor.EXTRAS) == set(project["optional-dependencies"]) - {"all", "test"}
    needed = {re.split(r"[<>=~!\[; ]", line)[0].lower() for line in project["dependencies"]}
    assert {name.lower() for name in doctor.PACKAGES} == needed


def test_the_doctor_says_what_keeps_commands_from_starting(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "duckdb", None)
    assert main(["doctor"]) == 2
    assert "PROBLEM: duckdb is not installed: pip install -e ." in capsys.readouterr().out


def test_a_command_whose_package_is_missing_says_so_in_one_line(capsys, monkeypatch):
    for name in ("fiqa_core.scoring.measures", "pipelines.measure_baselines"):
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "cv2", None)
    assert main(["baselines", "--help"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("fiqa baselines: the package 'cv2', which this command needs, is not installed")
    assert len(said.splitlines()) == 1


def test_tables_of_any_command_are_filtered_by_the_program(tmp_path, capsys):
    quality = write_quality(tmp_path / "quality", frame([0.5, 0.6]))
    assert main(["filter", "--quality", str(quality), "--min-quality", "0.55", "--dry-run"]) == 0
    assert "2 rows: 1 kept, 1 dropped" in capsys.readouterr().out
