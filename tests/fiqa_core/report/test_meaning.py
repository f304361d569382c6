"""What a report says of scores and faces in words: calibrated scores, why a face is poor, what groups lose."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fiqa_core.report.group_loss import band
from fiqa_core.report.why import read_ranks
from fiqa_core.scoring.calibration import read_calibration
from fiqa_core.tables.quality_files import find_parts
from pipelines import filter_dataset, report_dataset
from schemas.component_measures import COMPONENTS
from tests.makers.report_tables import ROWS, columns_of, data_of, text_of, write

HOSTILE = '<img src=x onerror="window.hacked=1">'


def reported(table: Path, place: Path, *options: str) -> Path:
    assert report_dataset.run(["--quality", str(table), "--output", str(place), *options]) == 0
    return place


def calibrated_table(folder: Path, quality: np.ndarray, **settings: str) -> Path:
    calibration = read_calibration("embedded")
    columns = columns_of(
        quality,
        percentile=calibration.percentiles(quality),
        predicted_fnmr=calibration.predicted_fnmr(quality),
    )
    made = dict(calibration.network) | {"calibration": calibration.described()} | settings
    return write(folder, columns, made, calibrated=True)


@pytest.fixture(scope="module")
def usual(tmp_path_factory) -> Path:
    """Scores as the set of the calibration has them."""
    quality = np.quantile(read_calibration("embedded").quality, np.linspace(0.01, 0.99, ROWS)).astype(np.float32)
    return calibrated_table(tmp_path_factory.mktemp("usual") / "quality", quality)


def test_the_slider_says_percentile_and_predicted_fnmr_by_the_tables_own_columns(usual, tmp_path):
    report = reported(usual, tmp_path / "r.html")
    found = data_of(report)["thresholds"]
    calibration, values = read_calibration("embedded"), np.array(found["values"], np.float32)
    np.testing.assert_allclose(found["meaning"]["percentile"], calibration.percentiles(values), atol=1e-4)
    np.testing.assert_allclose(found["meaning"]["fnmr"], calibration.predicted_fnmr(values), atol=1e-5)
    text = text_of(report)
    assert f"<bdi>{calibration.set}</bdi>" in text
    assert f"recogniser <bdi>{calibration.judge}</bdi>" in text
    assert "axis at the top has percentile and predicted FNMR" in text
    assert 'class="warning"' not in text


def test_a_calibration_that_is_given_says_the_same_with_its_band(usual, tmp_path):
    report = reported(usual, tmp_path / "r.html", "--calibration", "embedded")
    found = data_of(report)["thresholds"]
    calibration, values = read_calibration("embedded"), np.array(found["values"], np.float32)
    np.testing.assert_allclose(found["meaning"]["fnmr"], calibration.predicted_fnmr(values), atol=1e-5)
    np.testing.assert_allclose(
        found["meaning"]["low"], np.interp(values, calibration.knots, calibration.low), atol=1e-5
    )
    assert "--calibration embedded" in text_of(report)


def test_scores_outside_the_set_of_a_calibration_are_warned_of(tmp_path):
    quality = np.linspace(0.0, 0.5, ROWS).astype(np.float32)  # the set begins at about 0.32
    table = calibrated_table(tmp_path / "quality", quality)
    for place, options in (("a.html", []), ("b.html", ["--calibration", "embedded"])):
        text = text_of(reported(table, tmp_path / place, *options))
        warned = text.partition('class="warning"')[2].partition("</p>")[0]
        assert "of the scores lie at or below the lowest score of" in warned
        assert f"{(quality < read_calibration('embedded').quality[0]).mean():.1%}" in warned


def test_a_calibration_of_another_network_is_refused_and_no_calibration_says_nothing(tmp_path, caplog):
    table = calibrated_table(tmp_path / "quality", np.full(ROWS, 0.5, np.float32), checkpoint_sha256="f" * 64)
    options = ["--quality", str(table), "--output", str(tmp_path / "r.html"), "--calibration", "embedded"]
    assert report_dataset.run(options) == 2
    assert "another network" in caplog.text
    plain = reported(write(tmp_path / "plain", columns_of(np.linspace(0, 1, ROWS))), tmp_path / "plain.html")
    assert "meaning" not in data_of(plain)["thresholds"]
    assert 'id="meaning"' not in text_of(plain)


def test_tables_of_two_networks_that_were_calibrated_on_one_set_are_reported_in_percentiles(tmp_path, caplog):
    quality = np.linspace(0.45, 0.58, ROWS).astype(np.float32)
    one = calibrated_table(tmp_path / "one", quality)
    other = calibrated_table(tmp_path / "other", quality[::-1] + np.float32(0.004), checkpoint_sha256="e" * 64)
    both = ["--quality", str(one), str(other), "--output", str(tmp_path / "r.html")]
    renamed = other / "part-000000.parquet"
    stored = pq.read_table(renamed)
    moved = stored.set_column(
        stored.schema.get_field_index("shard"), stored.schema.field("shard"), pa.array(["b.tar"] * ROWS)
    )
    pq.write_table(moved, renamed)
    assert report_dataset.run(both) == 0, caplog.text
    data = data_of(tmp_path / "r.html")
    expected = pd.concat([pd.read_parquet(one), pd.read_parquet(other)]).percentile
    assert float(data["thresholds"]["values"][0]) == pytest.approx(float(expected.min()))
    assert float(data["thresholds"]["values"][-1]) == pytest.approx(float(expected.max()))
    assert "Quality is here the percentile in that set" in text_of(tmp_path / "r.html")
    assert report_dataset.run([*both, "--overwrite", "--calibration", "embedded"]) == 2
    assert "the tables are of 2 networks" in caplog.text


@pytest.fixture(scope="module")
def measured(tmp_path_factory) -> Path:
    """Row 0 is the darkest and the least sharp, row 1 the noisiest, row 2 high in a user's measure with a hostile name;
    row 3 was not decoded; the others are as usual."""
    rng = np.random.default_rng(6)
    measures = {name: rng.uniform(40, 60, ROWS).astype(np.float32) for name in COMPONENTS}
    for values in measures.values():
        values[:3] = values[10:12] = 50
        values[3] = np.nan
    measures["luminance_mean"] /= 100
    measures["luminance_mean"][0], measures["sharpness"][0], measures["noise"][1] = 0.125, 3, 99
    measures["under_exposure_prevention"][:] = 0  # all alike: nobody is among the worst
    own = rng.uniform(0, 1, ROWS)
    own[2] = 7
    field = pa.field(HOSTILE, pa.float64(), metadata={"direction": "lower = better", "unit": f"units{HOSTILE}"})
    columns = columns_of(np.linspace(0.1, 0.9, ROWS), **measures, **{HOSTILE: (field, pa.array(own))})
    for name in COMPONENTS:
        columns[name] = pa.array(columns[name], mask=np.isnan(columns[name]))
    return write(tmp_path_factory.mktemp("measured") / "quality", columns, measures=True)


def test_a_face_is_explained_by_its_measures_and_their_place_in_the_set(measured, tmp_path):
    faces = data_of(reported(measured, tmp_path / "r.html"))["faces"]
    assert "noise" not in faces["3"].get("sentence", "")
    dark, noisy, own = (faces[row]["sentence"] for row in "012")
    assert "luminance_mean 0.125 of full light (lowest 1.3 %)" in dark
    assert "sharpness 3 squared grey levels (lowest 1.3 %)" in dark
    assert dark.partition(":")[0] == "Dark and blurred"
    assert "noise 99 grey levels (highest 1.3 %)" in noisy
    assert f"High in {HOSTILE}"[:20] in own
    assert not any("black" in face.get("sentence", "") for face in faces.values())


def _faults(table: pd.DataFrame, row: int) -> list[str]:
    """Measures of a row that are among the worst tenth at their bad end (a twentieth where there is none)."""
    found = []
    for name, component in COMPONENTS.items():
        if name.endswith("_quality") and name.removesuffix("_quality") in COMPONENTS:
            continue  # the component's own value is named
        values = table[name].dropna()
        value = table[name][row]
        low, high = (values <= value).mean(), (values >= value).mean()
        if component.direction.startswith("higher"):
            high = 1
        elif component.direction:
            low = 1
        if min(low, high) <= (0.1 if component.direction else 0.05) and name != "grey":
            found.append(name)
    return found


def test_a_face_of_which_no_measure_stands_out_is_said_to_be_so_and_each_measure_that_does_is_named(measured):
    parts = find_parts([str(measured)])
    ranks = read_ranks(parts)
    table = pd.read_parquet(measured)
    for row in range(ROWS):
        sentence = ranks.explain(table.iloc[row].to_dict())
        faults = _faults(table, row)
        if row == 3:
            assert sentence.count(":") <= 1
            continue
        named = re.findall(r"(?:: |, )(\w+) [0-9.e+-]+", sentence)
        assert set(named) <= set(faults)
        assert len(named) == min(3, len(faults)) or HOSTILE in sentence
        if not faults and HOSTILE not in sentence:
            assert sentence.startswith("None of ")


def test_nothing_is_invented_where_there_are_no_measures(usual, tmp_path):
    assert read_ranks(find_parts([str(usual)])) is None
    faces = data_of(reported(usual, tmp_path / "r.html"))["faces"]
    assert faces
    assert not any("sentence" in face for face in faces.values())


def test_groups_by_a_file_lose_what_pandas_counts_and_their_band_is_that_of_identities(tmp_path):
    rng = np.random.default_rng(9)
    people, images = 60, 10
    hard = rng.uniform(0, 1, people)  # whole identities are lost together
    quality = np.clip(np.repeat(hard, images) + rng.normal(0, 0.02, people * images), 0, 1).astype(np.float32)
    table = write(tmp_path / "quality", columns_of(quality))
    groups = np.repeat(np.where(np.arange(people) % 3, "many", HOSTILE), images)
    listed = pd.DataFrame({"image": [f"k{row}" for row in range(len(quality))], "who": groups})
    listed.to_csv(tmp_path / "groups.csv", index=False)
    decided = ["--quality", str(table), "--output", str(tmp_path / "out"), "--min-quality", "0.4"]
    assert filter_dataset.run(decided) == 0
    options = ["--decisions", str(tmp_path / "out"), "--group-by", str(tmp_path / "groups.csv")]
    report = reported(table, tmp_path / "r.html", *options, "--group-column", "who")
    text, lost = text_of(report), quality < np.float32(0.4)
    assert HOSTILE not in text
    for name in ("many", HOSTILE):
        own = lost[groups == name]
        cell = f'<td class="n">{len(own) - own.sum():,}</td><td class="n">{own.mean():.1%} ('
        assert cell in text
        low, high = (
            float(end) / 100 for end in text.partition(cell)[2].partition(")")[0].replace("%", "").split(" to ")
        )
        by_identity = own.reshape(-1, images).mean(axis=1)
        draws = rng.integers(len(by_identity), size=(4000, len(by_identity)))
        expected = np.quantile(by_identity[draws].mean(axis=1), [0.025, 0.975])
        assert low == pytest.approx(expected[0], abs=0.04)
        assert high == pytest.approx(expected[1], abs=0.04)
        narrow = 1.96 * np.sqrt(own.mean() * (1 - own.mean()) / len(own))
        assert high - low > 2.5 * 2 * narrow  # single images are not independent here


def test_the_price_of_a_budget_that_the_filter_kept_is_said(tmp_path):
    table = write(tmp_path / "quality", columns_of(np.linspace(0.1, 0.9, ROWS)))
    options = ["--quality", str(table), "--output", str(tmp_path / "out"), "--group-by", "label"]
    assert filter_dataset.run([*options, "--group-budget", "0.5", "--min-quality", "0.3"]) == 0
    price = json.loads((tmp_path / "out" / "summary.json").read_text())["groups"]["budget"]["rows_kept_for_it"]
    assert price == 10  # of each of the two worst identities, all ten are below
    text = text_of(reported(table, tmp_path / "r.html", "--decisions", str(tmp_path / "out")))
    assert f"none loses more than 50 % to the rules of quality. Its price: {price} images kept" in text


def test_the_band_of_a_group_that_loses_nothing_is_not_of_width_zero():
    low, high = band(0.0, 50, 5, 0.0)
    assert low == 0
    assert 0.3 < high < 0.5  # five identities say little
    assert band(0.0, 5000, 500, 0.0)[1] < 0.01


def test_a_group_column_or_file_that_is_not_there_is_refused(usual, tmp_path, caplog):
    options = ["--quality", str(usual), "--output", str(tmp_path / "r.html"), "--group-by", "nowhere.csv"]
    assert report_dataset.run(options) == 2
    assert "neither a column of every file nor a file" in caplog.text
