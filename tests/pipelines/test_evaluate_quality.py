"""The evaluation command end to end, on a small invented dataset and on the golden one."""

import json
import os
import shutil
import subprocess
import sys
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from fiqa_core.evaluation import edc
from fiqa_core.evaluation.comparisons import Comparisons, dissimilarities
from fiqa_core.evaluation.discarding import QualityOrder
from fiqa_core.evaluation.sources import read_embeddings
from pipelines.evaluate_quality import run
from pipelines.jobs.evaluation_sources import Sources
from schemas.edc import (
    AUC_COLUMNS,
    DIFFERENCE_COLUMNS,
    GROUP_COLUMNS,
    POOR_IMAGE_COLUMNS,
    RECOMMENDATION_COLUMNS,
    SCHEMA,
)
from tests.shared import SHARED, needs_shared

PEOPLE, IMAGES = 12, 4


class Faces:
    """Files of a small dataset: `embeddings.parquet`, `quality.parquet` and `pairs.txt` in a folder."""

    def __init__(self, folder: Path) -> None:
        random = np.random.default_rng(5)
        self.folder = folder
        self.keys = [f"p{person}/{image}" for person in range(PEOPLE) for image in range(IMAGES)]
        self.labels = [key.partition("/")[0] for key in self.keys]
        self.quality = random.random(len(self.keys)).astype(np.float32)
        centres = np.repeat(random.normal(size=(PEOPLE, 16)), IMAGES, axis=0)
        noise = random.normal(size=centres.shape) * (1.5 - 1.4 * self.quality[:, None])
        self.vectors = (centres + noise).astype(np.float32)
        self.pairs = [(a, b, self.labels[a] == self.labels[b]) for a, b in combinations(range(len(self.keys)), 2)]
        lines = [f"{self.keys[a]} {self.keys[b]} {int(mated)}\n" for a, b, mated in self.pairs]
        (folder / "pairs.txt").write_text("".join(lines))
        self.write("embeddings.parquet", embedding=pa.array(list(self.vectors)))
        self.write("quality.parquet", quality=pa.array(self.quality))

    def write(self, name: str, **column: pa.Array) -> None:
        pq.write_table(pa.table({"key": self.keys, "label": self.labels, **column}), self.folder / name)

    def flags(self, output: Path, *more: str) -> list[str]:
        places = {name: str(self.folder / name) for name in ("quality.parquet", "embeddings.parquet", "pairs.txt")}
        return [
            *("--quality", f"q={places['quality.parquet']}", "--embeddings", f"fr={places['embeddings.parquet']}"),
            *("--pairs", f"small={places['pairs.txt']}", "--fmr", "0.1", "0.01", "--output", str(output), *more),
        ]


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    return Faces(tmp_path_factory.mktemp("faces"))


@pytest.fixture(scope="module")
def evaluated(faces, tmp_path_factory):
    output = tmp_path_factory.mktemp("evaluated") / "out"
    flags = ["--bootstrap", "8", "--recommend", "--target-fnmr", "0.02", "--embedding-norm", "--unscored", "worst"]
    assert run(faces.flags(output, *flags)) == 0
    return output


def test_the_curves_are_those_of_the_protocols(faces, evaluated):
    table = pq.read_table(evaluated / "edc.parquet")
    assert table.schema.equals(SCHEMA)
    a, b, mated = (np.array(side) for side in zip(*faces.pairs, strict=True))
    comparisons = Comparisons.of(dissimilarities(faces.vectors, a, b), mated)
    order = QualityOrder.of(np.minimum(faces.quality[a], faces.quality[b]))
    frame = table.to_pandas()
    for curve in [*edc.crfiqa(comparisons, order, [0.1, 0.01]), *edc.fixed(comparisons, order, [0.1, 0.01])]:
        own = frame[(frame.protocol == curve.protocol) & (frame.fmr == curve.fmr) & (frame.method == "q")]
        for name in ("discard", "threshold", "achieved_fmr", "n_mated", "n_nonmated", "fnmr"):
            np.testing.assert_allclose(own[name].to_numpy(float), getattr(curve, name), rtol=0, atol=1e-12)
    assert set(frame.method) == {"q", "norm-fr", "random", "oracle"}
    areas = pd.read_csv(evaluated / "auc.csv")
    assert list(areas.columns) == list(AUC_COLUMNS)
    assert len(areas) == 2 * 2 * 4
    ours = areas[(areas.method == "q") & (areas.protocol == "fixed")]
    assert (ours.auc_30_low <= ours.auc_30).all()
    assert (ours.auc_30 <= ours.auc_30_high).all()


def test_pictures_and_account_are_written(evaluated):
    for protocol in edc.PROTOCOLS:
        with Image.open(evaluated / f"edc-small-fr-{protocol}.png") as picture:
            assert min(picture.size) > 400
        assert "<svg" in (evaluated / f"edc-small-fr-{protocol}.svg").read_text()
    account = json.loads((evaluated / "evaluation.json").read_text())
    assert account["datasets"] == [
        {"name": "small", "names": 48, "kind": "images", "n_mated": 72, "n_nonmated": 1056, "subjects": 12}
    ]
    assert sorted([*account["files"], "evaluation.json"]) == sorted(path.name for path in evaluated.iterdir())


def test_a_recommended_threshold_keeps_the_images_that_it_says(faces, evaluated):
    rows = pd.read_csv(evaluated / "recommendations.csv")
    assert list(rows.columns) == list(RECOMMENDATION_COLUMNS)
    assert set(rows.kind) == {"stops_paying", "target"}
    for row in rows.itertuples():
        if np.isfinite(row.min_quality):
            dropped = faces.quality < row.min_quality
            assert row.images_dropped == dropped.sum()
            kept = {label for label, gone in zip(faces.labels, dropped, strict=True) if not gone}
            assert row.identities_dropped == PEOPLE - len(kept)
            left = [m for a, b, m in faces.pairs if m and not dropped[a] and not dropped[b]]
            assert row.discard == pytest.approx(1 - len(left) / 72)
    assert (rows[rows.kind == "target"].fnmr.dropna() <= 0.02).all()


def test_another_process_with_the_same_seed_writes_the_same_bytes(faces, evaluated, tmp_path):
    flags = json.loads((evaluated / "evaluation.json").read_text())["arguments"]
    again = faces.flags(tmp_path / "again", "--bootstrap", "8", "--recommend", "--target-fnmr", "0.02")
    again += ["--embedding-norm", "--unscored", flags["unscored"]]
    subprocess.run(
        [sys.executable, "-m", "pipelines.evaluate_quality", *again],
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "7"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
    )
    for path in evaluated.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name


@needs_shared
def test_the_golden_curves_come_out_of_the_command(tmp_path):
    golden = SHARED / "golden" / "edc"
    quality = np.load(golden / "quality.npy")
    scores = "".join(f"set/images/{row}.jpg {float(value)!r}\n" for row, value in enumerate(quality))
    (tmp_path / "scores.txt").write_text(scores)
    places = ["--quality", f"q={golden / 'quality.npy'}", f"file={tmp_path / 'scores.txt'}"]
    places += ["--embeddings", f"fr={golden / 'embeddings.npy'}"]
    places += ["--pairs", f"golden={golden / 'pairs.txt'}", "--output", str(tmp_path / "out")]
    assert run([*places, "--protocol", "crfiqa", "--no-plots", "--random-seeds", "1"]) == 2
    assert run([*places, "--protocol", "crfiqa", "--no-plots", "--random-seeds", "1", "--allow-unmeasurable"]) == 0
    expected = json.loads((golden / "expected.json").read_text())["cosine"]
    frame = pd.read_parquet(tmp_path / "out" / "edc.parquet")
    areas = pd.read_csv(tmp_path / "out" / "auc.csv").set_index(["method", "fmr"]).auc
    for method, target in product(("q", "file"), ("1e-2", "1e-3", "1e-4")):
        own = frame[(frame.method == method) & (frame.fmr == float(target))]
        np.testing.assert_allclose(own.fnmr, expected["fnmr"][target], rtol=0, atol=1e-12)
        assert areas[method, float(target)] == pytest.approx(expected["auc"][target], abs=1e-12)


def test_several_datasets_models_and_mirrored_images_in_one_call(faces, tmp_path):
    faces.write("mirrored.parquet", embedding=pa.array(list(faces.vectors[:, :3])))
    folder = tmp_path / "npy"
    for key, vector in zip(faces.keys, faces.vectors, strict=True):
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        np.save(folder / f"{key}.npy", vector)
    (tmp_path / "few.txt").write_text("".join((faces.folder / "pairs.txt").read_text().splitlines(True)[:400]))
    flags = ["--no-plots", "--random-seeds", "1", "--protocol", "fixed"]
    more = faces.flags(tmp_path / "out", *flags, "--flipped", f"both={faces.folder / 'mirrored.parquet'}")
    more[more.index("--pairs") + 1 : more.index("--fmr")] = [
        f"small={faces.folder / 'pairs.txt'}",
        f"few={tmp_path / 'few.txt'}",
    ]
    more[more.index("--embeddings") + 1 : more.index("--pairs")] = [
        f"npy={folder}",
        f"both={faces.folder / 'embeddings.parquet'}",
    ]
    assert run([*more, "--fmr", "0.1"]) == 0
    frame = pd.read_parquet(tmp_path / "out" / "edc.parquet")
    assert set(frame.groupby(["dataset", "fr_model"], observed=True).groups) == {
        (dataset, model) for dataset in ("small", "few") for model in ("npy", "both")
    }
    first = frame[frame.dataset == "small"].groupby("fr_model", observed=True).threshold.first()
    assert first["npy"] != first["both"]


def test_a_template_set_is_compared_by_its_templates(faces, tmp_path, capsys):
    # A template of one image each is the image; of two, its quality is the worse one's.
    lines = [f"{key} t{place} {place}\n" for place, key in enumerate(faces.keys)]
    (tmp_path / "media.txt").write_text("".join(lines))
    pairs = "".join(f"t{a} t{b} {int(mated)}\n" for a, b, mated in faces.pairs)
    (tmp_path / "template_pairs.txt").write_text(pairs)
    plain = ["--no-plots", "--random-seeds", "1"]
    assert run(faces.flags(tmp_path / "images", *plain)) == 0
    flags = faces.flags(tmp_path / "templates", *plain, "--templates", str(tmp_path / "media.txt"), "--recommend")
    flags[flags.index("--pairs") + 1] = f"small={tmp_path / 'template_pairs.txt'}"
    assert run(flags) == 0
    one, other = (
        pd.read_parquet(tmp_path / name / "edc.parquet").query("method == 'q'") for name in ("images", "templates")
    )
    np.testing.assert_allclose(one.fnmr, other.fnmr, atol=1e-12)
    assert "note: read off templates, each as good as its worst image" in capsys.readouterr().out


def test_an_image_without_a_quality_is_an_error_or_the_worst(faces, tmp_path, caplog):
    quality = [None if key == "p3/1" else float(value) for key, value in zip(faces.keys, faces.quality, strict=True)]
    faces.write("holes.parquet", quality=pa.array(quality, pa.float32()))
    flags = faces.flags(tmp_path / "out", "--no-plots", "--random-seeds", "1")
    flags[1] = f"q={faces.folder / 'holes.parquet'}"
    assert run(flags) == 2
    assert "1 image of the pairs has no quality, the first is 'p3/1'" in caplog.text
    assert run([*flags, "--unscored", "worst"]) == 0


def test_a_measure_in_which_lower_is_better_can_be_turned_round(faces, tmp_path):
    faces.write("turned.parquet", quality=pa.array(-faces.quality))
    flags = faces.flags(tmp_path / "out", "--no-plots", "--random-seeds", "1", "--lower-is-better", "turned")
    flags[2:2] = [f"turned={faces.folder / 'turned.parquet'}"]
    assert run(flags) == 0
    areas = pd.read_csv(tmp_path / "out" / "auc.csv").set_index("method").auc_30
    assert areas["q"].tolist() == areas["turned"].tolist()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"--fmr": ["1e-4"]}, "0.0001 cannot be measured with 1,056 non-mated pairs"),
        ({"--fmr": ["2"]}, "is not between 0 and 1"),
        ({"--quality": ["no/such/table.parquet"]}, "no such file or folder"),
        ({"--quality": ["random={quality.parquet}"]}, "one of the two bounds"),
        ({"--quality": ["q={quality.parquet}", "q={embeddings.parquet}"]}, "both called 'q'"),
        ({"--embeddings": ["fr=model.onnx"]}, "give their dataset with --images"),
        ({"--onnx-std": ["128"]}, "not an option: --onnx-std 128"),
        ({"--embeddings": ["fr={quality.parquet}"]}, "has no column 'embedding'"),
        ({"--pairs": ["small={quality.parquet}"]}, "small"),
        ({"--lower-is-better": ["other"]}, "no measure of that name; there is q"),
        ({"--flipped": ["other={embeddings.parquet}"]}, "no model of that name"),
        ({"--recommend": [], "--protocol": ["crfiqa"]}, "fixed threshold"),
        ({"--quality": ["smal:q={quality.parquet}"]}, "no dataset 'smal'; the names in --pairs are small"),
        ({"--pairs": ["a:b={pairs.txt}"]}, "give NAME=PATH"),
        ({"--templates": ["other={pairs.txt}"]}, "which dataset is it for?"),
        ({"--images": ["other={pairs.txt}"]}, "the names in --pairs are small"),
        ({"--cost-on": ["other={quality.parquet}"]}, "the names in --quality are q"),
        (
            {"--quality": ["my q={quality.parquet}"]},
            "'my q' is not a valid name, and there is no such file. A name has letters",
        ),
        ({"--quality": ["norm-fr={quality.parquet}"], "--embedding-norm": []}, "gives a measure of that name"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_and_nothing_is_written(faces, tmp_path, caplog, changes, said):
    flags = faces.flags(tmp_path / "out", "--no-plots")
    for option, values in changes.items():
        given = [value.replace("{", f"{faces.folder}/").replace("}", "") for value in values]
        if option in flags:
            start = flags.index(option)
            end = next((i for i in range(start + 1, len(flags)) if flags[i].startswith("--")), len(flags))
            flags[start:end] = [option, *given]
        else:
            flags += [option, *given]
    assert run(flags) == 2
    if said != "small":
        assert said in caplog.text
    assert not (tmp_path / "out").exists()


def test_plots_that_would_have_one_name_are_refused_by_it(faces, tmp_path, caplog):
    pairs, embeddings = faces.folder / "pairs.txt", faces.folder / "embeddings.parquet"
    flags = ["--quality", f"q={faces.folder / 'quality.parquet'}", "--output", str(tmp_path / "out")]
    flags += ["--pairs", f"a={pairs}", f"a-b={pairs}", "--embeddings", f"b-c={embeddings}", f"c={embeddings}"]
    assert run(flags) == 2
    assert "both plots would be called edc-a-b-c-crfiqa" in caplog.text


@pytest.mark.parametrize("rate", ["0", "1", "-0.1", "x"])
def test_a_target_fnmr_is_a_rate(faces, tmp_path, rate, capsys):
    with pytest.raises(SystemExit):
        run(faces.flags(tmp_path / "out", "--recommend", f"--target-fnmr={rate}"))
    assert "expected a rate between 0 and 1" in capsys.readouterr().err


def test_an_output_that_is_a_file_is_said(faces, tmp_path, caplog):
    (tmp_path / "out").write_text("mine")
    assert run(faces.flags(tmp_path / "out", "--no-plots")) == 2
    assert "is a file; the results are a folder" in caplog.text


def test_a_path_with_an_equals_sign_is_a_path_where_it_exists(faces, tmp_path, monkeypatch):
    folder = tmp_path / "dataset=lfw"
    folder.mkdir()
    shutil.copy(faces.folder / "quality.parquet", folder)
    monkeypatch.chdir(tmp_path)
    flags = faces.flags(tmp_path / "out", "--no-plots", "--random-seeds", "1", "--protocol", "fixed")
    flags[1] = "dataset=lfw"
    assert run(flags) == 0
    assert set(pd.read_csv(tmp_path / "out" / "auc.csv").method) == {"dataset_lfw", "random", "oracle"}


def test_one_subject_cannot_be_resampled(faces, tmp_path, caplog):
    (tmp_path / "pairs.txt").write_text("p1/1 p1/2 1\np1/1 p1/3 0\n")
    flags = faces.flags(tmp_path / "out", "--no-plots", "--allow-unmeasurable", "--bootstrap", "3")
    flags[flags.index("--pairs") + 1] = f"small={tmp_path / 'pairs.txt'}"
    assert run(flags) == 2
    assert "resamples subjects and needs at least two" in caplog.text


def test_two_subjects_can_although_a_resample_may_have_no_pair(faces, tmp_path):
    (tmp_path / "pairs.txt").write_text("p1/1 p1/2 1\np1/1 p2/3 0\n")
    flags = faces.flags(tmp_path / "out", "--no-plots", "--allow-unmeasurable", "--bootstrap", "9")
    flags[flags.index("--pairs") + 1] = f"small={tmp_path / 'pairs.txt'}"
    assert run(flags) == 0


def test_no_threshold_is_recommended_for_noise_nor_without_a_table_to_filter(faces, tmp_path, capsys):
    faces.write("noise.parquet", quality=pa.array(np.random.default_rng(3).random(len(faces.keys))))
    flags = faces.flags(tmp_path / "out", "--no-plots", "--random-seeds", "1", "--recommend", "--embedding-norm")
    flags[2:2] = [f"noise={faces.folder / 'noise.parquet'}"]
    assert run([*flags, "--fmr", "0.1", "0.1"]) == 0
    said = capsys.readouterr().out
    assert "noise, FMR 0.1: no threshold" in said
    assert "q, FMR 0.1: discarding stops paying at --min-quality" in said
    assert "no threshold for norm-fr: fiqa filter filters by" in said
    rows = pd.read_csv(tmp_path / "out" / "recommendations.csv")
    assert len(rows) == 4
    assert rows[rows.method == "noise"].min_quality.isna().all()


def test_the_account_has_the_options_that_networks_were_embedded_with(faces, tmp_path, monkeypatch):
    embeddings = read_embeddings(str(faces.folder / "embeddings.parquet"))
    monkeypatch.setattr(Sources, "embeddings", lambda *_: embeddings)
    flags = faces.flags(tmp_path / "out", "--no-plots", "--random-seeds", "1", "--protocol", "fixed")
    flags[flags.index("--embeddings") + 1] = "fr=model.onnx"
    assert run([*flags, "--images", "faces", "--flip", "--onnx-std", "128"]) == 0
    account = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert account["embed_dataset"] == ["--flip", "--onnx-std", "128"]


def test_a_missing_image_is_named_with_the_nearest(faces, tmp_path, caplog):
    (tmp_path / "pairs.txt").write_text("p1/1 p1/2 1\np1/1 p2/9 0\n")
    flags = faces.flags(tmp_path / "out", "--no-plots", "--allow-unmeasurable")
    flags[flags.index("--pairs") + 1] = f"small={tmp_path / 'pairs.txt'}"
    assert run(flags) == 2
    assert "the first is 'p2/9'. The nearest key is 'p2/" in caplog.text


def test_an_output_that_holds_something_is_not_touched(faces, evaluated, tmp_path, caplog):
    before = {path.name: path.stat().st_mtime_ns for path in evaluated.iterdir()}
    assert run(faces.flags(evaluated, "--no-plots")) == 2
    assert "holds an earlier evaluation. --resume" in caplog.text
    assert {path.name: path.stat().st_mtime_ns for path in evaluated.iterdir()} == before
    (tmp_path / "mine.txt").write_text("")
    assert run(faces.flags(tmp_path, "--no-plots", "--overwrite")) == 2
    assert "holds 'mine.txt') and not an evaluation" in caplog.text


def test_overwriting_leaves_no_file_of_the_earlier_evaluation(faces, evaluated, tmp_path):
    shutil.copytree(evaluated, tmp_path / "out")
    assert run(faces.flags(tmp_path / "out", "--overwrite", "--no-plots", "--random-seeds", "1")) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"auc.csv", "edc.parquet", "evaluation.json"}


def test_without_matplotlib_the_extra_is_named(faces, tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert run(faces.flags(tmp_path / "out")) == 2
    assert "pip install -e '.[plots]' (in the project's folder), or leave them out with --no-plots" in caplog.text


def test_measures_are_compared_in_table_plot_and_report(faces, tmp_path, capsys):
    faces.write("noise.parquet", quality=pa.array(np.random.default_rng(9).random(len(faces.keys))))
    flags = faces.flags(tmp_path / "out", "--bootstrap", "6", "--against-measure", "noise", "--random-seeds", "1")
    flags[2:2] = [f"noise={faces.folder / 'noise.parquet'}"]
    assert run(flags) == 0
    rows = pd.read_csv(tmp_path / "out" / "differences.csv")
    assert list(rows.columns) == list(DIFFERENCE_COLUMNS)
    assert set(zip(rows.method, rows.against, strict=True)) == {("q", "noise")}
    areas = pd.read_csv(tmp_path / "out" / "auc.csv").set_index(["protocol", "fmr", "method"]).auc_30
    for row in rows.itertuples():
        expected = areas[row.protocol, row.fmr, "q"] - areas[row.protocol, row.fmr, "noise"]
        assert row.auc_30 == pytest.approx(expected)
        assert row.auc_30_low <= row.auc_30_high
    for protocol in edc.PROTOCOLS:
        with Image.open(tmp_path / "out" / f"differences-small-fr-{protocol}.png") as picture:
            assert min(picture.size) > 200
    printed = capsys.readouterr().out
    assert "over the same resampled subjects" in printed
    assert "small, fr, fixed, FMR 0.1: q - noise" in printed


def test_several_judges_list_images_that_are_poor_for_all_and_for_one_only(faces, tmp_path, capsys):
    other = faces.vectors + np.random.default_rng(2).normal(0, 0.6, faces.vectors.shape).astype(np.float32)
    faces.write("second.parquet", embedding=pa.array(list(other)))
    flags = faces.flags(tmp_path / "out", "--random-seeds", "1", "--no-plots")
    flags[flags.index("--embeddings")] = "--judges"
    flags.insert(flags.index("--pairs"), f"second={faces.folder / 'second.parquet'}")
    assert run(flags) == 0
    rows = pd.read_csv(tmp_path / "out" / "poor_images.csv").fillna("")
    assert list(rows.columns) == list(POOR_IMAGE_COLUMNS)
    assert set(rows.image) <= set(faces.keys)
    votes = rows.judges + rows.measures
    assert (rows.advice[votes == 3] == "drop").all()
    assert (rows.advice[votes == 1] == "keep").all()
    assert {"drop", "keep"} <= set(rows.advice)
    assert "poor for all 2 recognisers and 1 measure" in capsys.readouterr().out


def test_error_rates_by_group_are_written_from_a_file_and_from_a_column(faces, tmp_path, capsys):
    groups = ["xy"[int(label[1:]) % 2] for label in faces.labels]
    pd.DataFrame({"key": faces.keys, "group": groups}).to_csv(tmp_path / "groups.csv", index=False)
    faces.write("grouped.parquet", quality=pa.array(faces.quality), colour=pa.array(groups))
    found = {}
    for name, by in (("file", str(tmp_path / "groups.csv")), ("column", "colour")):
        flags = faces.flags(tmp_path / name, "--random-seeds", "1", "--no-plots", "--group-by", by)
        flags[1] = f"q={faces.folder / 'grouped.parquet'}"
        assert run(flags) == 0
        found[name] = pd.read_csv(tmp_path / name / "groups.csv")
    assert list(found["file"].columns) == list(GROUP_COLUMNS)
    pd.testing.assert_frame_equal(found["file"], found["column"])
    whole = found["file"][(found["file"].fmr == 0.1) & (found["file"].discard == 0)]
    assert set(whole.group) == {"x", "y"}
    assert whole.n_mated.sum() == 72
    assert "FNMR by group at one threshold" in capsys.readouterr().out
    assert run(faces.flags(tmp_path / "none", "--no-plots", "--group-by", "colour")) == 2
    assert not (tmp_path / "none" / "evaluation.json").exists()
