"""Training configurations as people write them: refused as a policy is, with file, line and section."""

import json
from pathlib import Path

import pytest

from fiqa_core.settings.fields import SettingError, declared
from fiqa_core.training.settings import SECTIONS, TrainingSettings, parse_training, read_training
from pipelines import train_fiqa

WHOLE = "data: {input: a.tar}\nrun: {output: o}\nnetwork: {arch: vit_t}\n"


def parsed(text: str, *overrides: str) -> TrainingSettings:
    return parse_training(text.encode(), "t.yaml", overrides)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("optimiser: {batch: 8, batch: 9}", ["t.yaml, line 4", "section optimiser", "'batch' occurs twice"]),
        ("loss: {}\nloss: {}", ["t.yaml, line 5", "'loss' occurs twice"]),
        ("optimiser:\n  batch: 0256", ["t.yaml, line 5", "'0256'", "write a plain decimal number"]),
        ("optimiser:\n  epochs: 1:30", ["t.yaml, line 5", "write a plain decimal number"]),
        ("optimizer: {lr: 1}", ["t.yaml, line 4", "no section is called 'optimizer'", "Did you mean 'optimiser'?"]),
        ("optimiser:\n  lrr: 1", ["t.yaml, line 5", "optimiser has no key 'lrr'", "Did you mean 'lr'?"]),
        ("lr: 1", ["t.yaml, line 4", "below `optimiser:`"]),
        ("optimiser:\n\n  batch: 1", ["t.yaml, line 6", "optimiser.batch is 1", "a whole number of at least 2"]),
        ("optimiser: {batch: 2.5}", ["batch is 2.5", "a whole number of at least 2"]),
        ("optimiser: {batch: true}", ["batch is True", "a whole number of at least 2"]),
        ("optimiser: {batch: [2]}", ["batch is [2]", "a whole number of at least 2"]),
        ("optimiser: {lr: .inf}", ["lr is inf", "a number of more than 0"]),
        ("augment: {flip: 1.5}", ["augment.flip is 1.5", "a share from 0 to 1"]),
        ("teacher: {model: t.onnx, std: 0}", ["teacher.std is 0", "a number of more than 0"]),
        ("teacher: {copies: 2}", ["t.yaml, line 4", "teacher.model (--teacher-model) must be given"]),
        ("teacher: {model: t.onnx, margin_softmax: 1}", ["margin_softmax is 1", "true or false"]),
        ("augment: [0.5]", ["section augment must be a mapping", "found a list"]),
        ("loss: {alpha: {x: {y: 1}}}", ["line 4", "expected a plain value, found a mapping"]),
        ("optimiser: {epochs: 1}\nteacher: {model: t}\nloss: {beta: 0}", ["t.yaml, line 6", "loss.beta is 0"]),
        ("teacher: {model: t, seed: 99999999999999999999}", ["teacher.seed is 9", "from 0 to 9,007,199,254,740,992"]),
        ("run2: {", ["t.yaml, line 4", "not valid YAML"]),
    ],
)
def test_a_training_file_is_refused_as_a_policy_is_with_file_line_and_section(text, said):
    with pytest.raises(SettingError) as error:
        parsed(WHOLE + text)
    for words in said:
        assert words in str(error.value)


def test_settings_that_contradict_each_other_are_named_with_the_line_of_their_section():
    with pytest.raises(SettingError, match=r"t\.yaml, line 3: network: give either arch"):
        parsed(WHOLE, "network.width=16")
    with pytest.raises(SettingError, match=r"t\.yaml, line 2: run\.score_only: mode full"):
        parsed(WHOLE, "network.mode=full", "run.score_only=float16")


def test_what_must_be_given_is_named_with_its_option():
    with pytest.raises(SettingError, match=r"t\.yaml: data\.input \(--input\), run\.output \(--output\) must be given"):
        parsed("network: {arch: vit_t}")


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("optimiser.batch=0256", "--set optimiser.batch=0256: '0256': write a plain decimal number"),
        ("teacher={model: a.onnx, model: b.onnx}", "'model' occurs twice"),
        ("optimizer.lr=1", "no section is called 'optimizer'. Did you mean 'optimiser'?"),
        ("loss=5", "section loss must be a mapping"),
        ("optimiser.lr=[", "--set optimiser.lr=[: not valid YAML"),
    ],
)
def test_an_override_is_refused_as_a_line_of_the_file_is(override, said):
    with pytest.raises(SettingError) as error:
        parsed(WHOLE, override)
    assert said in str(error.value)


def test_options_go_before_overrides_and_these_before_the_file(tmp_path):
    config = tmp_path / "t.yaml"
    config.write_text(WHOLE + "teacher: {model: t.onnx, copies: 3}\noptimiser: {lr: 1e-3}\n")
    found = read_training(str(config), ["data.workers=1", "optimiser.lr=3e-4"], {"data": {"workers": 2}})
    assert (found.data.workers, found.optimiser.lr, found.data.input) == (2, 3e-4, ("a.tar",))
    assert found.teacher is not None
    assert found.teacher.copies == 3
    assert read_training(str(config), ["teacher=null"]).teacher is None
    assert parsed(WHOLE + "teacher:\nloss:\n").teacher is None


def test_the_command_s_help_shows_text_and_default_of_the_declarations(capsys):
    with pytest.raises(SystemExit):
        train_fiqa.run(["--help"])
    shown = " ".join(capsys.readouterr().out.split())
    flags = {declared(item).flag: item for kind in SECTIONS.values() for item in kind.__dataclass_fields__.values()}
    assert set(flags) > {"--input", "--output", "--teacher-model", "--workers"}
    for flag, item in flags.items():
        assert not flag or " ".join(declared(item).text.split()) in shown


@pytest.mark.parametrize("name", ["hybrid_lfw", "nano_lfw", "vit_s_ms1mv2"])
def test_the_configurations_that_come_with_the_code_are_read(name):
    found = read_training(f"configs/{name}.yaml")
    assert json.loads(json.dumps(found.that_shape_weights()))["run"] == {"seed": found.run.seed}
    assert Path(f"configs/{name}.yaml").is_file()
