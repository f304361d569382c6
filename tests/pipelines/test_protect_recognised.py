"""filter_dataset --protect-recognised: what stays, what is said of it, and what it needs."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipelines.filter_dataset import EXIT_BAD_INPUT, run
from tests.makers.embedded import people_images, write_quality

PEOPLE, IMAGES = 20, 6


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Path:
    """Faces of 20 people; the first image of each has the worst quality, and every second of these is nobody's."""
    vectors, person = people_images(PEOPLE, IMAGES)
    quality = np.linspace(0.5, 1, len(person))
    quality[::IMAGES] = np.linspace(0.1, 0.2, PEOPLE)
    vectors[:: 2 * IMAGES] = people_images(PEOPLE // 2, 1, seed=9)[0]
    return write_quality(tmp_path_factory.mktemp("q"), [f"p{who}" for who in person], vectors, 50, quality=quality)


def decisions(table: Path, output: Path, *options: object) -> pd.DataFrame:
    assert run(["--quality", str(table), "--output", str(output), *map(str, options)]) == 0
    return pd.read_parquet(output / "decisions")


def test_of_the_worst_those_stay_that_the_embeddings_know_and_the_account_says_so(table, tmp_path, capsys):
    worst = ["--drop-worst", PEOPLE / (PEOPLE * IMAGES), "--embeddings", "table"]
    without = decisions(table, tmp_path / "a", *worst)
    assert without.index[~without.keep].tolist() == list(range(0, PEOPLE * IMAGES, IMAGES))
    assert without.recognised.isna().all()
    capsys.readouterr()
    found = decisions(table, tmp_path / "b", *worst, "--protect-recognised")
    assert found.index[~found.keep].tolist() == list(range(0, PEOPLE * IMAGES, 2 * IMAGES))
    assert found.recognised.sum() == (PEOPLE * IMAGES) - PEOPLE // 2
    known = found[found.recognised.astype(bool)]
    assert (known.genuine_cosine >= 0.5).all()
    assert (known.centre_cosine - known.nearest_cosine >= 0.15).all()
    assert f"for they are recognised: below_global_quantile {PEOPLE // 2}" in capsys.readouterr().out
    assert json.loads((tmp_path / "b" / "summary.json").read_text())["spared"]["below_global_quantile"] == PEOPLE // 2


def test_the_limits_are_options_and_keys_of_the_policy(table, tmp_path):
    policy = tmp_path / "p.yaml"
    policy.write_text("quality: {min: 0.3, protect_recognised: {cosine: 0.5, margin: 0.15}}")
    by_file = decisions(table, tmp_path / "a", "--policy", policy)
    assert (~by_file.keep).sum() == PEOPLE // 2
    strict = decisions(table, tmp_path / "b", "--policy", policy, "--protect-recognised", "0.999,0")
    assert (~strict.keep).sum() == PEOPLE
    off = decisions(table, tmp_path / "c", "--policy", policy, "--protect-recognised", "off")
    assert (~off.keep).sum() == PEOPLE


def test_the_same_bytes_come_out_with_any_number_of_threads_and_files(table, tmp_path):
    options = ["--drop-worst-of-identity", 0.4, "--protect-recognised", "--keep-at-least", 1]
    one = decisions(table, tmp_path / "a", *options, "--threads", 1)
    assert one.equals(decisions(table, tmp_path / "b", *options, "--threads", 3))
    names = [path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.parquet")]
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in names)


def test_without_embeddings_it_is_refused_with_a_sentence_and_nothing_is_begun(tmp_path, caplog):
    plain = write_quality(tmp_path / "q", ["a", "a", "b"], None)
    arguments = ["--quality", str(plain), "--output", str(tmp_path / "out"), "--protect-recognised"]
    assert run([*arguments, "--drop-worst", "0.5"]) == EXIT_BAD_INPUT
    assert "the policy protects recognised faces, which takes face recognition embeddings" in caplog.text
    assert not (tmp_path / "out").exists()


def test_findings_of_a_run_that_did_not_compare_them_are_refused_and_those_of_one_that_did_serve(
    table, tmp_path, caplog
):
    decisions(table, tmp_path / "plain", "--embeddings", "table")
    decisions(table, tmp_path / "made", "--protect-recognised", "0.4,0.1")
    quality = ["--quality", str(table), "--output", str(tmp_path / "out"), "--min-quality", "0.3"]
    protected = [*quality, "--protect-recognised", "--findings"]
    assert run([*protected, str(tmp_path / "plain" / "findings")]) == EXIT_BAD_INPUT
    assert "not compared with other identities" in caplog.text
    assert run([*protected, str(tmp_path / "made" / "findings"), "--overwrite"]) == 0
    assert (~pd.read_parquet(tmp_path / "out" / "decisions").keep).sum() == PEOPLE // 2


def test_where_there_is_one_identity_only_nothing_is_recognised(tmp_path):
    vectors, _ = people_images(1, 4)
    one = write_quality(tmp_path / "q", ["a"] * 4, vectors, quality=np.array([0.1, 0.2, 0.8, 0.9]))
    found = decisions(one, tmp_path / "out", "--min-quality", 0.5, "--protect-recognised")
    assert found.keep.tolist() == [False, False, True, True]
    assert not found.recognised.any()
