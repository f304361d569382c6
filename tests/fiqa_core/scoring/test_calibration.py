"""A calibration file: what it adds to a table, what is refused, and what is said of scores beyond its set."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from fiqa_core.models import EMBEDDED_CALIBRATIONS
from fiqa_core.networks.checkpoints import load_checkpoint
from fiqa_core.scoring.calibration import CalibrationError, outside_lines, parse_calibration, read_calibration
from fiqa_core.tables import column_meanings, load_quality
from fiqa_core.tables.quality_files import TableError
from fiqa_core.tables.whole_tables import whole_tables
from pipelines.filter_dataset import EXIT_BAD_INPUT, run
from pipelines.fiqa import main
from tests.makers.runs import OTHER_NETWORK, SETTINGS, score_shards, write_shards

CONTENT = {
    "format": "fiqa.calibration",
    "version": 1,
    "network": {"arch": "none", "mode": "none", "checkpoint_sha256": "0" * 64},
    "set": "grey",
    "set_digest": "0123",
    "judge": "eye",
    "fmr": 0.001,
    "percentile": {"quality": [0.4, 0.5, 0.6], "percentile": [10.0, 50.0, 90.0]},
    "predicted_fnmr": {"quality": [0.4, 0.6], "fnmr": [0.5, 0.1], "low": [0.4, 0.0], "high": [0.6, 0.2]},
}


def calibration(**changed):
    return parse_calibration(json.dumps(CONTENT | changed).encode(), "grey.json")


def calibrated(settings, **changed):
    return dataclasses.replace(settings, calibration=calibration(**changed))


def test_a_calibration_adds_percentile_and_predicted_fnmr_to_every_scored_row(tmp_path):
    shards = write_shards(tmp_path / "in", "ab")
    (tmp_path / "in" / "a.tar").write_bytes(shards[0].read_bytes()[:512] + b"x" * 512 + shards[0].read_bytes()[1024:])
    score_shards(tmp_path / "out", shards, calibrated(SETTINGS))
    table = pd.read_parquet(tmp_path / "out" / "quality")
    scored = table[table.status == "scored"]
    assert len(scored) < len(table)
    np.testing.assert_allclose(scored.percentile, np.interp(scored.quality, [0.4, 0.5, 0.6], [10, 50, 90]), atol=1e-4)
    np.testing.assert_allclose(scored.predicted_fnmr, np.interp(scored.quality, [0.4, 0.6], [0.5, 0.1]), atol=1e-6)
    assert table[table.status != "scored"][["percentile", "predicted_fnmr"]].isna().all(axis=None)
    [file, *_] = sorted((tmp_path / "out" / "quality").iterdir())
    settings = json.loads(pq.read_schema(file).metadata[b"fiqa.settings"])
    assert settings["calibration"]["judge"] == "eye"
    assert settings["calibration"]["set"] == "grey"
    assert column_meanings()["predicted_fnmr"]["direction"].startswith("lower")
    assert "percentile" in load_quality(tmp_path / "out").columns


def test_without_a_calibration_a_table_has_neither_column_and_the_settings_keep_their_digest(tmp_path):
    shards = write_shards(tmp_path / "in", "a")
    score_shards(tmp_path / "out", shards)
    assert not {"percentile", "predicted_fnmr"} & set(pd.read_parquet(tmp_path / "out" / "quality").columns)
    assert "calibration" not in SETTINGS.to_dict()
    assert len({SETTINGS, calibrated(SETTINGS)}) == 2  # settings are keys of caches
    assert calibrated(SETTINGS).digest() != SETTINGS.digest()
    assert calibrated(SETTINGS).digest() != calibrated(SETTINGS, judge="other").digest()


def test_tables_of_two_networks_are_filtered_together_if_calibrated_on_one_set(tmp_path, capsys):
    shards = write_shards(tmp_path / "in", "ab")
    score_shards(tmp_path / "a", shards[:1], calibrated(SETTINGS))
    low = {"quality": [0.2, 0.5, 0.8], "percentile": [20.0, 50.0, 80.0]}
    score_shards(tmp_path / "b", shards[1:], calibrated(OTHER_NETWORK, percentile=low))
    arguments = ["--quality", str(tmp_path / "a"), str(tmp_path / "b"), "--output", str(tmp_path / "f")]
    assert run([*arguments, "--drop-worst", "0.25"]) == 0
    assert "several networks: quality here is the percentile" in capsys.readouterr().out
    found = pd.concat(pd.read_parquet(tmp_path / name / "quality") for name in "ab").set_index("key")
    decided = pd.read_parquet(tmp_path / "f" / "decisions").set_index("key")
    assert set(decided[~decided.keep].index) == set(found.percentile.nsmallest(2).index)
    # Readers that would mix the scores themselves go on refusing them.
    with pytest.raises(TableError, match="calibrate both networks on one set"):
        whole_tables([str(tmp_path / "a"), str(tmp_path / "b")])


@pytest.mark.parametrize("changed", [{"set_digest": "4567"}, {"judge": "other"}, {"fmr": 0.01}, None])
def test_tables_of_two_networks_without_a_common_calibration_are_refused(tmp_path, changed, caplog):
    shards = write_shards(tmp_path / "in", "ab")
    score_shards(tmp_path / "a", shards[:1], calibrated(SETTINGS))
    score_shards(tmp_path / "b", shards[1:], OTHER_NETWORK if changed is None else calibrated(OTHER_NETWORK, **changed))
    arguments = ["--quality", str(tmp_path / "a"), str(tmp_path / "b"), "--output", str(tmp_path / "f")]
    assert run(arguments) == EXIT_BAD_INPUT
    assert f"calibration.{next(iter(changed or {'set': 0}))}" in caplog.text
    assert not (tmp_path / "f").exists()


@pytest.mark.parametrize("option", [["--min-quality", "0.5"], ["--tiers-by", "quality", "--tier-edges", "4,3,2,1"]])
def test_a_threshold_in_scores_is_refused_where_networks_are_mixed(tmp_path, option, caplog):
    shards = write_shards(tmp_path / "in", "ab")
    score_shards(tmp_path / "a", shards[:1], calibrated(SETTINGS))
    score_shards(tmp_path / "b", shards[1:], calibrated(OTHER_NETWORK))
    quality = ["--quality", str(tmp_path / "a"), str(tmp_path / "b")]
    assert run([*quality, "--dry-run", *option]) == EXIT_BAD_INPUT
    assert "the tables are of several networks" in caplog.text


def test_a_policy_filters_by_percentile_and_by_predicted_fnmr(tmp_path, caplog):
    shards = write_shards(tmp_path / "in", "ab")
    score_shards(tmp_path / "q", shards, calibrated(SETTINGS))
    table = pd.read_parquet(tmp_path / "q" / "quality").set_index("key")
    least, most = float(table.percentile.median()), float(table.predicted_fnmr.median())
    for number, (option, value, dropped) in enumerate(
        [
            ("--min-percentile", least, table.percentile < least),
            ("--max-predicted-fnmr", most, table.predicted_fnmr > most),
        ]
    ):
        output = tmp_path / f"f{number}"
        assert run(["--quality", str(tmp_path / "q"), "--output", str(output), option, str(value)]) == 0
        decided = pd.read_parquet(output / "decisions").set_index("key")
        assert set(decided[~decided.keep].index) == set(table[dropped].index)
        assert 0 < dropped.sum() < len(table)
    score_shards(tmp_path / "plain", shards)
    assert run(["--quality", str(tmp_path / "plain"), "--dry-run", "--min-percentile", "5"]) == EXIT_BAD_INPUT
    assert "needs the column 'percentile'" in caplog.text


def test_the_package_ships_calibrations_of_its_own_network():
    network = load_checkpoint("embedded:vit_hybrid_lfw", embeddings=False)
    for name in EMBEDDED_CALIBRATIONS:
        made = read_calibration(name)
        made.check_network(network.arch, network.mode, network.sha256, name)
        assert made.judge == "edgeface"
        assert made.set.startswith("lfw-test")
        assert made.fmr == 1e-3
        assert made.fnmr[0] > made.fnmr[-1]


def test_a_calibration_of_another_network_is_refused():
    with pytest.raises(CalibrationError, match="another network"):
        calibration().check_network("none", "none", "1" * 64, "grey.json")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": "other"}, "not a calibration"),
        ({"version": 2}, "version is not 1"),
        ({"judge": None}, "'judge'"),
        ({"fmr": 7}, "'fmr'"),
        ({"network": {}}, "'network'"),
        ({"percentile": {"quality": [0.5, 0.4], "percentile": [1, 2]}}, "'percentile.quality'"),
        ({"percentile": {"quality": [0.4, 0.5], "percentile": [2, 1]}}, "'percentile.percentile'"),
        ({"percentile": {"quality": [], "percentile": []}}, "'percentile.quality'"),
        ({"predicted_fnmr": {"quality": [0.4], "fnmr": ["x"], "low": [0], "high": [0]}}, "'predicted_fnmr.fnmr'"),
        ({"predicted_fnmr": CONTENT["predicted_fnmr"] | {"fnmr": [0.1, 0.5]}}, "'predicted_fnmr.fnmr'"),
    ],
)
def test_a_damaged_calibration_is_refused_with_its_key(change, said):
    with pytest.raises(CalibrationError, match=said):
        calibration(**change)


def test_bytes_that_are_not_json_are_refused():
    with pytest.raises(CalibrationError, match="not a calibration"):
        parse_calibration(b"\x00\xff", "x.json")


def test_scores_beyond_the_set_are_warned_of():
    def lines(low, middle, high):
        quantiles = {"0.05": low, "0.5": middle, "0.95": high}
        return outside_lines(calibration(), {"quantiles": quantiles})

    assert lines(0.41, 0.5, 0.59) == ["percentile in grey (judge eye, FMR 0.001): 5 %: 14, 50 %: 50, 95 %: 86"]
    assert any("below 0.4" in line for line in lines(0.2, 0.5, 0.55))
    assert any("above 0.6" in line for line in lines(0.45, 0.5, 0.8))
    assert outside_lines(calibration(), {}) == []


def test_scores_that_are_distributed_otherwise_than_the_sets_are_warned_of():
    high = {str(share): 0.55 + share / 100 for share in (0.05, 0.25, 0.5, 0.75, 0.95)}
    (warning,) = outside_lines(calibration(), {"quantiles": high})[1:]
    assert "distributed otherwise than those of grey" in warning
    assert "distance at least 0.65" in warning  # at 0.05, whose score is at percentile 70.2


@pytest.mark.parametrize(
    ("percentile", "said"),
    [
        ({"quality": [0.99, 1.0], "percentile": [1.0, 99.0]}, "100.0 % of the scores are lower than its lowest"),
        ({"quality": [0.0, 0.01], "percentile": [1.0, 99.0]}, "100.0 % higher than its highest"),
        ({"quality": [0.0, 1.0], "percentile": [90.0, 91.0]}, "Kolmogorov-Smirnov distance 0.9"),
        (None, ""),
    ],
)
def test_the_filter_warns_where_scores_lie_outside_the_set_of_their_calibration(tmp_path, percentile, said, caplog):
    shards = write_shards(tmp_path / "in", "a")
    changed = {} if percentile is None else {"percentile": percentile}
    score_shards(tmp_path / "q", shards, SETTINGS)
    plain = pd.read_parquet(tmp_path / "q" / "quality").quality.dropna().sort_values().to_numpy(float)
    if percentile is None:  # the set has these very scores
        shares = [100 * (place + 0.5) / len(plain) for place in range(len(plain))]
        changed = {"percentile": {"quality": plain.tolist(), "percentile": shares}}
    score_shards(tmp_path / "c", shards, calibrated(SETTINGS, **changed))
    assert run(["--quality", str(tmp_path / "c"), "--output", str(tmp_path / "f"), "--write", "none"]) == 0
    (found,) = json.loads((tmp_path / "f" / "summary.json").read_text())["calibrations"]
    assert (found["set"], found["judge"], found["scored"]) == ("grey", "eye", len(plain))
    assert said in caplog.text
    assert ("Calibrate on a set that is like these images" in caplog.text) == bool(said)
    if not said:
        assert found["below"] == found["above"] == 0
        assert found["distance"] <= 1 / len(plain)


def test_every_command_that_reads_scores_refuses_two_networks_without_a_calibration(tmp_path, caplog):
    shards = write_shards(tmp_path / "in", "ab")
    score_shards(tmp_path / "a", shards[:1])
    score_shards(tmp_path / "b", shards[1:], OTHER_NETWORK)
    both = [str(tmp_path / "a"), str(tmp_path / "b")]
    for command in (
        ["filter", "--quality", *both, "--dry-run"],
        ["report", "--quality", *both, "--output", str(tmp_path / "o.html")],
        ["show", "--quality", *both, "--where", "quality < 2", "--output", str(tmp_path / "o.png")],
        ["show", "--quality", str(tmp_path / "*" / "quality" / "*.parquet"), "--output", str(tmp_path / "o.png")],
        [
            "export",
            "--quality",
            str(tmp_path / "*" / "quality" / "*.parquet"),
            "--to",
            "csv",
            "--output",
            str(tmp_path / "o.csv"),
        ],
    ):
        caplog.clear()
        assert main(command) == EXIT_BAD_INPUT, command
        assert "different networks or settings" in caplog.text, command
