"""filter_dataset from scores and embeddings to written images: the whole way, killed, resumed, with other tables."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipelines.filter_dataset import EXIT_BAD_INPUT, EXIT_INCOMPLETE, run
from pipelines.score_dataset import run as score_dataset
from tests.fakes import MeanScorerSource
from tests.faults.prepared import Prepared, wait_for
from tests.makers.embedded import people_images, write_quality
from tests.makers.recordio import read_rec

JOB = "pipelines.filter_dataset:run"
PEOPLE, IMAGES = 12, 6
# Images that lie in a folder which is not their person's: every tenth of the first sixty.
SWAPPED = {f"{number:02}.png" for number in range(5, 60, 10)}


@pytest.fixture(scope="module")
def faces(tmp_path_factory) -> Path:
    """`in`: folders of images, some in the wrong one, and a copy; `out`: its scores; `emb`: its embeddings."""
    root = tmp_path_factory.mktemp("faces")
    chance = np.random.default_rng(3)
    vectors, person = people_images(PEOPLE, IMAGES)
    by_name = {}
    for number, who in enumerate(person.tolist()):
        name = f"{number:02}.png"
        folder = root / "in" / f"p{(who + (name in SWAPPED)) % PEOPLE:02}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(chance.integers(0, 256, (24, 24, 3), np.uint8)).save(folder / name)
        by_name[name] = vectors[number]
    (root / "in" / "p03" / "copy.png").write_bytes((root / "in" / "p03" / "18.png").read_bytes())
    by_name["copy.png"] = by_name["18.png"]
    arguments = ["--input", str(root / "in"), "--output", str(root / "out"), "--unit-size", "20"]
    assert score_dataset(arguments, MeanScorerSource()) == 0
    table = pd.read_parquet(root / "out" / "quality")
    names = table.key.str.rpartition("/")[2]
    # In another order than the scores, and with shards of its own: the stored bytes tell which row is whose.
    order = chance.permutation(len(table))
    embedded = np.stack([by_name[name] for name in names])[order]
    write_quality(root / "emb", [None] * len(table), embedded, 30, table.sha256[order].tolist())
    return root


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    with Prepared(tmp_path_factory.mktemp("logs")) as process:
        yield process


def command(faces: Path, output: Path, *more: object) -> list[str]:
    return ["--quality", str(faces / "out"), "--output", str(output), *map(str, more)]


def judged(faces: Path, output: Path, *more: object) -> list[str]:
    policy = ["--drop-wrong-labels", "--exact-duplicates", "all", *more]
    return command(faces, output, "--embeddings", faces / "emb", *policy)


def decisions(output: Path) -> pd.DataFrame:
    return pd.read_parquet(output / "decisions")


def files_of(output: Path) -> dict[str, bytes]:
    """Every file but the summaries, which tell of times, with its content."""
    paths = [path for path in sorted(output.rglob("*")) if path.is_file() and path.name != "summary.json"]
    return {str(path.relative_to(output)): path.read_bytes() for path in paths}


def test_images_in_the_wrong_folder_and_copies_are_not_in_the_recordio_set_that_is_written(faces, tmp_path, capsys):
    assert run(judged(faces, tmp_path / "out", "--write", "recordio")) == 0
    table = decisions(tmp_path / "out")
    wrong = table[table.reason == "wrong_label"]
    assert {key.rpartition("/")[2] for key in wrong.key} == SWAPPED
    assert (wrong.nearest_cosine > wrong.centre_cosine).all()
    assert (table.reason == "duplicate_exact").sum() == 1
    kept = table[table.keep]
    data = (tmp_path / "out" / "subset" / "data" / "train.rec").read_bytes()
    images = [image for _, image in read_rec(data).values() if image]
    stored = {path.read_bytes() for path in (faces / "in").rglob("*.png")}
    assert len(images) == len(kept)
    assert set(images) <= stored
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["complete"]
    assert summary["subset"]["images"] == summary["kept"] == len(kept)
    said = capsys.readouterr().out
    assert f"wrong_label {len(SWAPPED)}" in said
    assert f"written: {len(kept)} images" in said


def test_a_run_that_writes_images_says_what_it_is_at_and_leaves_no_notes_of_its_progress(faces, tmp_path, caplog):
    caplog.set_level("INFO")
    assert run(command(faces, tmp_path / "out", "--write", "parquet", "--drop-worst", 0.2)) == 0
    stages = ("reading 73 rows", "deciding", "writing the decisions", "writing 59 images as parquet")
    places = [caplog.text.index(stage) for stage in stages]
    assert places == sorted(places)
    assert not (tmp_path / "out" / "_progress").exists()


def test_findings_of_an_earlier_run_serve_another_policy_without_embeddings(faces, tmp_path):
    assert run(judged(faces, tmp_path / "a")) == 0
    again = command(faces, tmp_path / "b", "--findings", tmp_path / "a" / "findings", "--drop-wrong-labels")
    assert run([*again, "--exact-duplicates", "all"]) == 0
    pd.testing.assert_frame_equal(decisions(tmp_path / "a"), decisions(tmp_path / "b"))


def test_a_dry_run_with_a_search_says_the_same_and_leaves_nothing(faces, tmp_path, capsys):
    assert run(judged(faces, tmp_path / "out")) == 0
    said = capsys.readouterr().out.splitlines()
    assert run([*judged(faces, tmp_path / "dry"), "--dry-run"]) == 0
    told = [line.replace(" (findings/identities.parquet)", "") for line in said[:-1]]
    assert capsys.readouterr().out.splitlines()[:-1] == told
    assert not (tmp_path / "dry").exists()


def test_near_copies_in_another_dataset_are_an_overlap_by_perceptual_hash_alone(tmp_path):
    chance = np.random.default_rng(8)
    for folder, count in (("own", 6), ("other", 3)):
        (tmp_path / folder).mkdir()
        for number in range(count):
            blocks = chance.integers(0, 256, (6, 6, 3), np.uint8)
            Image.fromarray(blocks).resize((48, 48), 2).save(tmp_path / folder / f"{folder}{number}.png")
    Image.open(tmp_path / "own" / "own4.png").save(tmp_path / "other" / "again.jpg", quality=80)
    for folder in ("own", "other"):
        arguments = ["--input", str(tmp_path / folder), "--output", str(tmp_path / f"{folder}-q"), "--phash"]
        assert score_dataset(arguments, MeanScorerSource()) == 0
    tables = ["--quality", str(tmp_path / "own-q"), "--against", str(tmp_path / "other-q")]
    near = ["--overlap-near", "--near-by", "phash", "--near-phash", "0.8"]
    assert run([*tables, *near, "--output", str(tmp_path / "out")]) == 0
    table = decisions(tmp_path / "out")
    assert table[~table.keep][["key", "reason", "duplicate_of"]].values.tolist() == [
        ["own4.png", "overlap_near", "again.jpg"]
    ]


@pytest.mark.parametrize("reached", ["findings/findings.json", "subset/data/shard-000001.tar"])
def test_killed_and_resumed_it_writes_what_an_undisturbed_run_writes(faces, prepared, tmp_path, reached):
    options = ["--write", "webdataset", "--shard-size", 5]
    assert run(judged(faces, tmp_path / "a", *options)) == 0
    child = prepared.start(JOB, judged(faces, tmp_path / "b", *options))
    wait_for(lambda: (tmp_path / "b" / reached).exists() or not child.running())
    child.kill()
    assert child.wait() == -9
    assert not (tmp_path / "b" / "summary.json").exists()
    assert prepared.run(JOB, judged(faces, tmp_path / "b", *options, "--resume")) == 0
    assert files_of(tmp_path / "b") == files_of(tmp_path / "a")


def test_a_second_run_writes_nothing_again_another_format_removes_nothing_without_overwrite_another_policy_refused(
    faces, tmp_path, caplog
):
    out = tmp_path / "out"
    assert run(judged(faces, out, "--write", "same", "--shard-size", 10)) == 0
    before = {path: path.stat().st_mtime_ns for path in (out / "subset" / "data").rglob("*") if path.is_file()}
    assert run([*judged(faces, out, "--write", "same", "--shard-size", 10), "--resume"]) == 0
    assert json.loads((out / "summary.json").read_text())["subset"]["images_now"] == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    parquet = judged(faces, out, "--write", "parquet", "--shard-size", 20)
    assert run([*parquet, "--resume"]) == EXIT_BAD_INPUT
    assert "write: same then, parquet now" in caplog.text
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert run([*parquet, "--overwrite"]) == 0
    assert sorted(path.suffix for path in (out / "subset" / "data").iterdir()) == [".parquet"] * 4
    assert not list((out / "subset" / "data").rglob("*.png"))
    other = judged(faces, out, "--drop-worst", 0.1, "--write", "parquet", "--shard-size", 20)
    assert run([*other, "--resume"]) == EXIT_BAD_INPUT
    assert "quality: drop_fraction: 0.0 then, 0.1 now" in caplog.text
    assert run([*judged(faces, out, "--drop-worst", 0.1, "--write", "folder"), "--overwrite"]) == 0
    assert len(list((out / "subset" / "data").rglob("*.png"))) == decisions(out).keep.sum()


def test_an_image_that_is_not_what_was_scored_is_named_and_the_rest_is_written(faces, tmp_path, capsys):
    source = tmp_path / "in"
    source.mkdir()
    for path in list((faces / "in").rglob("*.png"))[:12]:
        (source / path.name).write_bytes(path.read_bytes())
    assert score_dataset(["--input", str(source), "--output", str(tmp_path / "q")], MeanScorerSource()) == 0
    names = sorted(path.name for path in source.iterdir())
    kept = (source / names[3]).read_bytes()
    (source / names[3]).write_bytes((source / names[4]).read_bytes())
    arguments = ["--quality", str(tmp_path / "q"), "--output", str(tmp_path / "out"), "--write", "webdataset"]
    assert run([*arguments, "--shard-size", "2"]) == EXIT_INCOMPLETE
    said = capsys.readouterr().out
    assert names[3] in said
    assert "--resume" in said
    assert not json.loads((tmp_path / "out" / "summary.json").read_text())["complete"]
    (source / names[3]).write_bytes(kept)
    assert run([*arguments, "--shard-size", "2", "--resume"]) == 0
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["complete"]
    assert 0 < summary["subset"]["images_now"] < summary["subset"]["images"] == len(names)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--drop-wrong-labels"], "embed_dataset"),
        (["--near-duplicates", "all", "--near-by", "phash"], "no perceptual hashes"),
        (["--overlap-near"], "--against"),
        (["--against", "OUT"], "both --quality and --against"),
        (["--against", "SAME"], "both --quality and --against"),
        (["--policy", ""], "empty"),
        (["--relabel"], "--relabel is for --write"),
        (["--embedding-column", "e"], "give that"),
        (["--embeddings", "x.npy"], "--embedding-keys"),
        (["--embeddings", "EMB", "--findings", "EMB"], "give one of the two"),
        (["--embeddings", "EMB", "--label-cosine", "0.3", "--label-quantile", "0.1"], "not as both"),
        (["--near-by", "phash", "--near-phash", "0.5"], "more than 0.75 up to 1"),
        (["--write", "same", "--moved", "nowhere"], "OLD=NEW"),
    ],
)
def test_what_does_not_go_together_is_refused_in_words_before_anything_is_written(
    faces, tmp_path, caplog, capsys, options, said
):
    places = {"EMB": str(faces / "emb"), "OUT": str(tmp_path / "link"), "SAME": str(faces / "out")}
    (tmp_path / "link").symlink_to(faces / "out")
    options = [places.get(option, option) for option in options]
    try:
        code = run(command(faces, tmp_path / "out", *options))
    except SystemExit as stopped:
        code = stopped.code
    assert code == EXIT_BAD_INPUT
    assert said in caplog.text + capsys.readouterr().err
    assert not (tmp_path / "out" / "decisions").exists()


def test_what_a_filter_run_wrote_is_not_scored_again_with_its_input(faces, tmp_path):
    for path in list((faces / "in").rglob("*.png"))[:4]:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    assert score_dataset(["--input", str(tmp_path), "--output", str(tmp_path / "q")], MeanScorerSource()) == 0
    arguments = ["--quality", str(tmp_path / "q"), "--output", str(tmp_path / "f"), "--write", "folder"]
    assert run(arguments) == 0
    assert score_dataset(["--input", str(tmp_path), "--output", str(tmp_path / "q2")], MeanScorerSource()) == 0
    assert len(pd.read_parquet(tmp_path / "q2" / "quality")) == 4
    # The subset itself, named, is a dataset like any other.
    data = str(tmp_path / "f" / "subset" / "data")
    assert score_dataset(["--input", data, "--output", str(tmp_path / "q3")], MeanScorerSource()) == 0
    assert len(pd.read_parquet(tmp_path / "q3" / "quality")) == 4


def test_labels_that_would_share_a_folder_are_refused_and_numbered_on_request(tmp_path, caplog):
    chance = np.random.default_rng(1)
    for label in ("a_b", "a:b", "c"):
        (tmp_path / "in" / label).mkdir(parents=True)
        Image.fromarray(chance.integers(0, 256, (20, 20, 3), np.uint8)).save(tmp_path / "in" / label / "x.png")
    scored = ["--input", str(tmp_path / "in"), "--output", str(tmp_path / "q")]
    assert score_dataset(scored, MeanScorerSource()) == 0
    arguments = ["--quality", str(tmp_path / "q"), "--output", str(tmp_path / "out"), "--write", "folder"]
    assert run(arguments) == EXIT_BAD_INPUT
    assert "'a_b' and 'a:b' would be one folder" in caplog.text or "'a:b' and 'a_b' would be one folder" in caplog.text
    assert run([*arguments, "--relabel", "--resume"]) == 0
    data = tmp_path / "out" / "subset" / "data"
    assert sorted(str(path.relative_to(data)) for path in data.rglob("*.png")) == ["0/x.png", "1/x.png", "2/x.png"]


def test_a_dataset_that_was_moved_after_it_was_scored_is_written_once_its_place_is_said(tmp_path, caplog, capsys):
    (tmp_path / "old").mkdir()
    chance = np.random.default_rng(2)
    for number in range(3):
        Image.fromarray(chance.integers(0, 256, (20, 20, 3), np.uint8)).save(tmp_path / "old" / f"{number}.png")
    assert score_dataset(["--input", str(tmp_path / "old"), "--output", str(tmp_path / "q")], MeanScorerSource()) == 0
    (tmp_path / "old").rename(tmp_path / "older")
    arguments = ["--quality", str(tmp_path / "q"), "--output", str(tmp_path / "out"), "--write", "webdataset"]
    assert run(arguments) == EXIT_INCOMPLETE
    assert "--moved" in capsys.readouterr().out
    assert run([*arguments, "--resume", "--moved", f"{tmp_path}/ol={tmp_path}/older"]) == EXIT_BAD_INPUT
    assert "nothing lay there" in caplog.text
    assert run([*arguments, "--resume", "--moved", f"{tmp_path}/old={tmp_path}/older"]) == 0
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["subset"]["images"] == 3
