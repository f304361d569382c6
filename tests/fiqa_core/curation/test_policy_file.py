"""Policies as people write them: what is read, and what an error says."""

from dataclasses import dataclass, fields

import pytest

from fiqa_core.curation.decisions.policy import ROW_RULES, Duplicates, Policy, Quality, Tiers, Weights
from fiqa_core.curation.decisions.policy_file import parse_policy, read_policy
from fiqa_core.curation.decisions.reason_codes import REASONS
from fiqa_core.curation.decisions.recognised_limits import Recognised
from fiqa_core.curation.decisions.row_rules import RowRule, row_rule, rules_of
from fiqa_core.settings.checks import count
from fiqa_core.settings.fields import SettingError
from pipelines.cli.parser import Parser
from pipelines.cli.setting_options import add_option, given_settings


def parsed(text: str) -> Policy:
    return parse_policy(text.encode(), "p.yaml")


@pytest.mark.parametrize(
    "policy",
    [
        Policy(),
        Policy(quality=Quality(min=0.1 + 0.2, keep_at_least=3), weights=Weights("linear", 0.1, -2.5, 1e-7)),
        Policy(duplicates=Duplicates("off", near="within"), tiers=Tiers("quality", (3.0, 2.0, 1.0, -1e300))),
    ],
)
def test_a_policy_as_applied_is_read_back_to_an_equal_one(policy):
    assert parsed(policy.to_yaml()) == policy
    assert parsed(policy.to_yaml()).digest() == policy.digest()


def test_what_is_not_named_has_its_default_and_an_empty_file_is_the_default_policy():
    assert parsed("") == parsed("quality:\n") == Policy()
    assert parsed("quality: {min: 0.5}") == Policy(quality=Quality(min=0.5))


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        ("true", Recognised(0.5, 0.15)),
        ("{}", Recognised(0.5, 0.15)),
        ("{cosine: 0.6}", Recognised(0.6, 0.15)),
        ("{cosine: 0.6, margin: 0.2}", Recognised(0.6, 0.2)),
        ("off", None),
        ("null", None),
    ],
)
def test_recognised_faces_are_protected_by_the_limits_that_are_named(text, limits):
    policy = parsed(f"quality: {{protect_recognised: {text}}}")
    assert policy.quality.protect_recognised == limits
    assert parsed(policy.to_yaml()) == policy


def test_a_bare_off_is_the_word_off_although_yaml_reads_false():
    assert parsed("duplicates: {exact: off}").duplicates.exact == "off"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("qualty: {min: 1}", ["p.yaml, line 1", "'qualty'", "Did you mean 'quality'?"]),
        ("quality:\n  mim: 1", ["p.yaml, line 2", "no key 'mim'", "Did you mean 'min'?"]),
        ("min_per_identity: 3", ["below `size:`"]),
        ("quality:\n\n  drop_fraction: 5", ["line 3", "drop_fraction is 5", "at least 0 and less than 1"]),
        ("quality: {min: high}", ["min is 'high'", "a finite number"]),
        ("quality: {min: .nan}", ["a finite number"]),
        ("quality: {keep_at_least: 2.5}", ["a whole number of at least 1"]),
        ("quality: {keep_at_least: true}", ["a whole number of at least 1"]),
        ("duplicates: {exact: both}", ["one of off, within, across, all"]),
        ("labels: {drop_wrong: 1}", ["true or false"]),
        ("tiers: {edges: [0.2, 0.4, 0.6, 0.8]}", ["4 numbers, each less than the one before"]),
        ("tiers: {edges: [8, 6, 4, 2]}", ["from 0 to 1"]),
        ("size: {}\nweights: {mode: linear}", ["p.yaml, line 2", "low < high"]),
        ("quality: {min: {a: 1}}", ["line 1", "min is {'a': 1}", "a finite number"]),
        ("quality: [1]", ["must be a mapping"]),
        ("quality: {protect_recognised: {cosine: 0.5, marge: 0.1}}", ["line 1", "cosine and a margin"]),
        ("quality: {protect_recognised: {margin: -0.1}}", ["a margin from 0 to 1"]),
        ("quality: {protect_recognised: {cosine: 5}}", ["a similarity from -1 to 1"]),
        ("quality: {protect_recognised: 0.5}", ["cosine and a margin"]),
        ("- 1", ["must be a mapping"]),
        ("quality: {min: 1, min: 2}", ["'min' occurs twice"]),
        ("version: 2", ["version 2", "reads version 1"]),
        ("quality: {min: 1", ["line 1", "not valid YAML"]),
        ("quality: {min: !!python/object/apply:os.system [true]}", ["line 1"]),
        ("[" * 1500, ["not valid YAML", "nested too deeply"]),
        ("quality: {min: 010}", ["p.yaml, line 1", "write a plain decimal number"]),
        ("quality:\n  min: &a {x: *a}", ["line 2", "expected a plain value, found a mapping"]),
        ("a: &a {x: 1, y: 2}\nquality: {min: {p: *a, q: *a}}", ["'a'"]),
        ("near: {picture: 0}", ["near.picture is 0", "more than 0 up to 1"]),
        ("near: {phash: 0.5}", ["near.phash is 0.5", "more than 0.75 up to 1"]),
        ("\nlabels: {cosine: 0.3, own_quantile: 0.1}", ["p.yaml, line 2: labels", "not as both"]),
    ],
)
def test_what_is_wrong_is_named_with_its_line_and_what_was_expected(text, said):
    with pytest.raises(SettingError) as error:
        parsed(text)
    for words in said:
        assert words in str(error.value)


def test_a_file_that_is_not_there_no_text_or_far_too_large_is_refused_by_name(tmp_path):
    binary, large = tmp_path / "b.yaml", tmp_path / "l.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    large.write_bytes(b" " * (2 << 20))
    for path, said in ((tmp_path / "no.yaml", "no such file"), (binary, "not valid UTF-8"), (large, "bytes")):
        with pytest.raises(SettingError, match=said) as error:
            read_policy(str(path))
        assert str(path) in str(error.value)


def test_a_rule_about_one_row_is_one_field_with_its_option_code_and_condition():
    @dataclass(frozen=True)
    class Section:
        min_bytes: int | None = row_rule(
            RowRule("few_bytes", "Few bytes.", "Fewer than {value:,} bytes.", lambda least: f"bytes < {least}", True),
            count,
            "drop images of fewer stored bytes",
            "--min-bytes",
        )

    ((section, key, rule),) = rules_of([("size", Section)])
    assert (section, key, rule.code, rule.condition(4096)) == ("size", "min_bytes", "few_bytes", "bytes < 4096")
    parser = Parser("filter_dataset", "", [])
    add_option(parser, parser.add_argument_group("size"), "size", fields(Section)[0])
    arguments = parser.parse_args(["--min-bytes", "4096"])
    assert given_settings(arguments, {"size": Section}) == {"size": {"min_bytes": 4096}}


def test_row_rules_are_evaluated_after_duplicates_and_before_shares():
    codes = [code for code in REASONS if code is not None]
    assert len(set(codes)) == len(codes)
    placed = [codes.index(rule.code) for _, _, rule in ROW_RULES]
    assert placed == list(range(codes.index("duplicate_near") + 1, codes.index("below_global_quantile")))
    assert codes[placed[0]] == "below_threshold"
