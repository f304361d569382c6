"""`benchmarks/benefit.py`: what its conditions do to the faces, how it measures, and a small run from end to end."""

import numpy as np
import pandas as pd
import pytest

from benchmarks import benefit
from benchmarks.benefit_conditions import Job, flips_cut, jobs, planted, quality_cut
from benchmarks.benefit_faces import Faces
from benchmarks.benefit_results import compared, is_done, read
from benchmarks.benefit_training import Recipe, embed, train
from benchmarks.benefit_verification import MEASURES, Verification
from pipelines import embed_dataset
from tests.makers.containers import write_tar
from tests.makers.images import encoded, face_pixels

SMALL = Recipe(side=16, width=4, epochs=2, batch=8, shift=1)


def some_faces(identities: int = 10, images: int = 10, side: int = 16) -> Faces:
    """Faces of people who look different, with ascending quality."""
    labels = np.repeat([f"p{number}" for number in range(identities)], images)
    random = np.random.default_rng(0)
    people = np.stack([face_pixels(number, side) for number in range(identities)]).repeat(images, 0)
    pixels = (people + random.normal(0, 10, people.shape)).clip(0, 255).astype(np.uint8)
    keys = np.array([f"k{number:03d}" for number in range(len(labels))])
    return Faces(keys, labels, keys, np.linspace(0, 1, len(labels), dtype=np.float32), pixels)


class Decided:
    """Stands for the product: drops these rows."""

    def __init__(self, dropped: list[int]) -> None:
        self._dropped = dropped

    def cleaned(self, labels: np.ndarray, _: str) -> pd.DataFrame:
        keep = ~np.isin(np.arange(len(labels)), self._dropped)
        return pd.DataFrame({"keep": keep, "label": labels, "weight": keep.astype(np.float32)})

    def cut(self, name: str, _: object) -> pd.DataFrame:
        return self.cleaned(some_faces().labels, name)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.25])
def test_flips_are_planted_in_exactly_the_share_of_labels_and_by_the_seed(share):
    labels = some_faces().labels
    flipped = planted(labels, share, 1)
    assert (flipped != labels).sum() == round(share * len(labels))
    assert set(flipped) <= set(labels)
    assert (flipped == planted(labels, share, 1)).all()
    assert share == 0 or (flipped != planted(labels, share, 2)).any()


def test_the_oracle_drops_exactly_the_flipped_faces():
    faces = some_faces()
    flipped = planted(faces.labels, 0.3, 4) != faces.labels
    cut = flips_cut(Job("flips", 0.3, "oracle", 4), faces, Decided([]))
    assert cut.rows.tolist() == np.flatnonzero(~flipped).tolist()
    assert (cut.labels == faces.labels[~flipped]).all()


def test_random_drops_as_many_faces_as_the_product_and_other_ones_by_each_seed():
    faces, product = some_faces(), Decided([3, 30, 31, 77])
    cuts = [flips_cut(Job("flips", 0.2, "random", seed), faces, product) for seed in (0, 0, 1)]
    assert [len(cut.rows) for cut in cuts] == [96, 96, 96]
    assert cuts[0].rows.tolist() == cuts[1].rows.tolist() != cuts[2].rows.tolist()
    assert (cuts[0].labels == planted(faces.labels, 0.2, 0)[cuts[0].rows]).all()
    assert flips_cut(Job("flips", 0.2, "product", 0), faces, product).rows.tolist() == sorted(
        set(range(100)) - {3, 30, 31, 77}
    )


def test_worst_random_and_best_drop_equally_many_faces_and_best_drops_the_best():
    faces, product = some_faces(), Decided(list(range(20)))
    kept = {
        name: quality_cut(Job("quality", 0.2, name, 0), faces, product, None).rows
        for name in ("worst", "random", "best")
    }
    assert {name: len(rows) for name, rows in kept.items()} == {"worst": 80, "random": 80, "best": 80}
    assert kept["worst"].tolist() == list(range(20, 100))
    assert kept["best"].tolist() == list(range(80))


def test_every_job_has_its_own_file_name_and_as_is_is_always_there():
    wanted = list(jobs([0.1, 0.4], [0.1, 0.3], range(2), benefit.CONDITIONS, 0.45))
    assert len({job.name for job in wanted}) == len(wanted) == 2 * (1 + 2 * 5 + 2 * 5 + 1)
    assert [job.condition for job in jobs([0.2], [], [0], ["oracle"], 0.45)] == ["as_is", "as_is", "oracle"]


def test_a_training_depends_on_its_seed_only_and_weights_scale_its_loss():
    faces = some_faces(4, 8)
    classes = np.unique(faces.labels, return_inverse=True)[1]

    def trained(seed: int, weights: np.ndarray | None = None) -> np.ndarray:
        return embed(train(faces.pixels, classes, weights, 6, SMALL, seed), faces.pixels)

    first = trained(0)
    assert (first == trained(0)).all()
    assert not np.allclose(first, trained(1))
    assert np.allclose(first, trained(0, np.full(len(faces), 0.3)), atol=1e-3)
    assert not np.allclose(first, trained(0, np.linspace(0, 1, len(faces))), atol=1e-2)


def test_verification_equals_the_definitions_counted_pair_by_pair():
    labels = np.repeat(["a", "b", "c", "d", "e"], 5).tolist()
    random = np.random.default_rng(3)
    embeddings = np.eye(5)[np.repeat(np.arange(5), 5)] + random.normal(0, 0.4, (25, 5))
    embeddings = (embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)).astype(np.float32)
    verification = Verification(labels, 0, 10_000, 3)
    cosines = embeddings @ embeddings.T
    a, b = np.triu_indices(25, 1)
    same = np.array([labels[i] == labels[j] for i, j in zip(a, b, strict=True)])
    genuine, impostor = cosines[a, b][same], cosines[a, b][~same]
    assert len(verification.pairs) == len(a)
    values, samples = verification.measure(embeddings[verification.rows])
    assert values[0] == pytest.approx((genuine[:, None] > impostor).mean(), abs=1e-6)
    for place, fmr in ((1, 1e-2), (2, 1e-3)):
        accepted = [(impostor >= one).mean() <= fmr for one in genuine]
        assert values[place] == pytest.approx(np.mean(accepted), abs=1e-6)
    assert samples.shape == (3, len(MEASURES))
    assert (verification.measure(embeddings[verification.rows]).samples == samples).all()


def test_a_difference_is_paired_over_seeds_and_subjects():
    subjects = np.linspace(0.5, 0.9, 50)  # the same resamples for both: they cancel out
    as_is = pd.DataFrame({"seed": [0, 1], "auc": [0.7, 0.8], "samples_auc": [subjects, subjects + 0.1]})
    cleaned = as_is.assign(auc=as_is.auc + 0.05, samples_auc=[subjects + 0.05, subjects + 0.15])
    assert compared(cleaned, as_is, "auc") == pytest.approx((0.05, 0.05, 0.05, 2))
    mixed = as_is.assign(auc=as_is.auc + np.array([0.1, 0.0]), samples_auc=[subjects + 0.1, subjects + 0.1])
    assert compared(mixed, as_is, "auc") == pytest.approx((0.05, 0.0, 0.1, 2))


def test_a_small_run_cleans_trains_measures_and_goes_on_where_it_stopped(tmp_path, monkeypatch, capsys):
    onnx_models = pytest.importorskip("tests.makers.onnx_models", reason="extra [onnx] is not installed")
    random = np.random.default_rng(1)
    members = []
    for number in range(40):
        person = face_pixels(number // 5) + random.normal(0, 6, (112, 112, 3))
        members.append((f"f{number:02d}.png", encoded(person.clip(0, 255).astype(np.uint8), "PNG")))
        members.append((f"f{number:02d}.cls", f"{number // 5}".encode()))
    shard = str(write_tar(tmp_path / "faces.tar", members))
    model = onnx_models.write_linear(tmp_path / "fr.onnx", ["n", 3, 112, 112], 16)
    assert not embed_dataset.run(["--input", shard, "--output", str(tmp_path / "emb"), "--model", str(model)])
    output = tmp_path / "out"
    words = ["--output", str(output), "--input", shard, "--embeddings", str(tmp_path / "emb"), "--hold-out", "0.25"]
    words += ["--flips", "0.1", "--shares", "0.2", "--seeds", "1", "--epochs", "2", "--side", "16", "--bootstrap", "5"]
    words += ["--conditions", "product", "oracle", "random", "worst"]
    benefit.main([*words, "--flips", "--shares"])
    assert is_done(output, Job("flips", 0.0, "as_is", 0))
    benefit.main(words)
    rows = read(output).set_index(["kind", "condition", "share"])
    assert len(rows) == 7
    assert rows.loc[("flips", "as_is", 0.1), "wrong_left"] == 3
    assert rows.loc[("flips", "oracle", 0.1), ["images", "wrong_left"]].tolist() == [27, 0]
    assert rows.loc[("flips", "random", 0.1), "dropped"] == rows.loc[("flips", "product", 0.1), "dropped"] > 0
    assert rows.loc[("flips", "product", 0.1), "recall"] > 0.5
    assert rows.loc[("quality", "worst", 0.2), "dropped"] == rows.loc[("quality", "random", 0.2), "dropped"] == 6
    assert "10%, product" in capsys.readouterr().out
    monkeypatch.setattr(benefit, "train", None)  # nothing is trained again
    benefit.main(words)
    with pytest.raises(SystemExit, match="other settings"):
        benefit.main([*words, "--epochs", "3"])
