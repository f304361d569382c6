"""The evaluation in a report: paired differences, FNMR by group, images that are poor for all judges or for one."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from pipelines import evaluate_quality, report_dataset
from tests.makers.report_tables import data_of, text_of
from tests.pipelines.test_evaluate_quality import Faces


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory) -> tuple[Faces, Path, Path]:
    """Two recognisers, two measures, groups; and a report of a table that lacks the last two images."""
    folder = tmp_path_factory.mktemp("judges")
    faces = Faces(folder)
    rng = np.random.default_rng(1)
    faces.write("second.parquet", embedding=pa.array(list(faces.vectors + rng.normal(0, 0.3, faces.vectors.shape))))
    faces.write("other.parquet", quality=pa.array(rng.random(len(faces.keys)).astype(np.float32)))
    pd.DataFrame({"key": faces.keys, "group": [f"<i>g{label[1:]}" for label in faces.labels]}).to_csv(folder / "g.csv")
    flags = ["--quality", f"q={folder}/quality.parquet", f"other={folder}/other.parquet"]
    flags += ["--embeddings", f"fr={folder}/embeddings.parquet", f"fr2={folder}/second.parquet"]
    flags += ["--pairs", f"small={folder}/pairs.txt", "--fmr", "0.1", "--output", str(folder / "edc")]
    more = ["--bootstrap", "8", "--no-plots", "--random-seeds", "1", "--group-by", str(folder / "g.csv")]
    assert evaluate_quality.run([*flags, *more]) == 0
    rows = pd.DataFrame({"key": faces.keys, "shard": "s", "index": range(len(faces.keys)), "label": faces.labels})
    rows = rows.assign(quality=faces.quality, status="scored", sha256=None).iloc[:-2]
    (folder / "table").mkdir()
    rows.to_parquet(folder / "table" / "part.parquet")
    options = ["--quality", str(folder / "table"), "--edc", str(folder / "edc"), "--output", str(folder / "r.html")]
    assert report_dataset.run(options) == 0
    return faces, folder / "edc", folder / "r.html"


def test_paired_differences_are_those_of_the_evaluation_with_chart_and_verdict(evaluated):
    _, edc, report = evaluated
    text, rows = text_of(report), pd.read_csv(edc / "differences.csv")
    assert len(rows)
    assert text.count('alt="Paired differences of') == len(rows.groupby(["fr_model", "protocol", "fmr"]))
    for row in rows.itertuples():
        cells = [
            row.method,
            row.against,
            f"{row.auc_30:.3g}",
            f"{row.auc_30_low:.3g} to {row.auc_30_high:.3g}",
            row.verdict,
        ]
        assert "".join(f"<td><bdi>{cell}</bdi></td>" for cell in cells) in text


def test_fnmr_by_group_is_that_of_the_evaluation_and_its_names_are_text(evaluated):
    _, edc, report = evaluated
    text, rows = text_of(report), pd.read_csv(edc / "groups.csv")
    first = rows[(rows.discard == 0) & rows.fnmr.notna()].iloc[0]
    name = first.group.lstrip("'").replace("<", "&lt;").replace(">", "&gt;")
    assert f"<bdi>{name}</bdi></td><td><bdi>{first.n_mated:,}</bdi></td><td><bdi>{first.fnmr:.2%} (0.0%" in text
    assert "<i>g" not in text


def test_images_that_are_poor_for_all_judges_or_for_one_are_shown_as_faces(evaluated):
    faces, edc, report = evaluated
    data, rows = data_of(report), pd.read_csv(edc / "poor_images.csv")
    there = faces.keys[:-2]
    for advice, code in (("drop", "poor_for_all"), ("keep", "poor_for_one")):
        expected = list(dict.fromkeys(rows.image[rows.advice == advice]))
        shown = [data["faces"][str(item["rid"])]["key"] for item in data["dropped"][code]]
        assert shown == [name for name in expected if name in there]
    assert data["dropped"]["poor_for_one"]
    assert "recognisers:" in data["dropped"]["poor_for_one"][0]["why"]
    gone = set(rows.image[rows.advice.isin(["drop", "keep"])]) - set(there)
    assert (f"{len(gone)} images of the evaluation are not among the rows" in text_of(report)) == bool(gone)
