"""Braces in names of shards mean what they mean to webdataset."""

import pytest
from braceexpand import braceexpand

from fiqa_core.runs.plan import plan_dataset
from fiqa_core.shards.braces import BraceError, expand_braces
from fiqa_core.shards.formats import PlanError
from tests.makers.containers import face_records, samples, write_tar

FACES = face_records(6, size=24)


@pytest.mark.parametrize(
    "pattern",
    [
        "faces-{000000..000002}.tar", "{a,b}/x-{0..3}.tar", "{train-{00..02},test}.tar", "x{5..1..2}.tar",
        "x{08..12}.tar", "{a..e}.tar", "{only}.tar", "a{}b.tar", "{,x}.tar", "{-2..2}.tar",
        "http://h/{a,b}?x={0..1}",
    ],
)  # fmt: skip
def test_braces_are_expanded_as_braceexpand_does(pattern):
    assert list(expand_braces(pattern)) == list(braceexpand(pattern, escape=False))


def test_braces_without_a_partner_are_ordinary_characters():
    assert list(expand_braces("{a,b")) == ["{a,b"]
    assert list(expand_braces("a}b{0..1}")) == ["a}b0", "a}b1"]


@pytest.mark.parametrize("pattern", ["x-{0..99999999999}.tar", "{0..999}{0..999}{0..9}.tar"])
def test_a_pattern_of_too_many_names_is_refused_at_once(pattern):
    with pytest.raises(BraceError, match="1,000,000 are the most"):
        list(expand_braces(pattern))


def test_brace_shards_are_planned_in_order_and_a_missing_one_is_named(tmp_path):
    for number in range(3):
        write_tar(tmp_path / f"faces-{number:06d}.tar", samples(FACES[number * 2 : number * 2 + 2]))
    pattern = f"{tmp_path}/faces-{{000000..000002}}.tar"
    units = plan_dataset([pattern], "auto", 10, str(tmp_path / "plan")).units
    assert [unit.shard for unit in units] == [f"{tmp_path}/faces-{number:06d}.tar" for number in range(3)]
    with pytest.raises(PlanError, match=r"faces-000003\.tar: no such file"):
        plan_dataset([f"{tmp_path}/faces-{{000000..000003}}.tar"], "auto", 10, str(tmp_path / "plan"))
    literal = write_tar(tmp_path / "a{0..1}.tar", samples(FACES))
    assert [u.shard for u in plan_dataset([str(literal)], "auto", 10, str(tmp_path / "plan")).units] == [str(literal)]
