"""Of a photograph and altered copies of it the original stays, from stored files to decisions."""

import io
from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageEnhance

from benchmarks.planted_faces import Network, read_faces
from benchmarks.planted_originals import DECIDED, KINDS, altered_copies, originals_kept
from fiqa_core.tables import load_quality
from pipelines import filter_dataset, score_dataset
from tests.fakes import MeanScorerSource
from tests.shared import FACES, SHARED, needs_shared

MIRROR = Image.Transpose.FLIP_LEFT_RIGHT
CHANGES: dict[str, tuple[Callable[[Image.Image], Image.Image], int]] = {
    "q85": (lambda image: image, 85),
    "q60": (lambda image: image, 60),
    "brightened": (lambda image: ImageEnhance.Brightness(image).enhance(1.1), 70),
    "smaller": (lambda image: image.resize((90, 90), Image.Resampling.BICUBIC), 95),
}


def jpeg(image: Image.Image, quality: int) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return out.getvalue()


@needs_shared
@pytest.mark.parametrize(("original", "copy"), [("b", "a"), ("a", "b")], ids=["copies first", "copies last"])
def test_altered_copies_of_aligned_faces_and_camera_files_go_through_both_commands(tmp_path, original, copy):
    faces = [face.data for face in read_faces(FACES, 2 * len(CHANGES))]
    cameras = sorted((SHARED / "data" / "lfw_original").glob("*/*_0001.jpg"))[:8]
    stored = [*((data, 0) for data in faces), *((path.read_bytes(), 60) for path in cameras)]
    folder = tmp_path / "faces"
    for name in "ab":
        (folder / name).mkdir(parents=True)
    for number, (data, coarser) in enumerate(stored):
        change, quality = list(CHANGES.values())[number % len(CHANGES)]
        (folder / original / f"{number:02d}.jpg").write_bytes(data)
        # Camera files of LFW are of quality 75.
        altered = jpeg(change(Image.open(io.BytesIO(data))), min(quality, coarser or quality))
        (folder / copy / f"{number:02d}.jpg").write_bytes(altered)
    out, kept = tmp_path / "out", tmp_path / "kept"
    scoring = ["--input", str(folder), "--output", str(out), "--phash", "--device", "cpu"]
    assert score_dataset.run(scoring) == score_dataset.EXIT_OK
    options = ["--near-duplicates", "all", "--near-by", "phash"]
    command = ["--quality", str(out), "--output", str(kept), "--write", "none", *options]
    assert filter_dataset.run(command) == filter_dataset.EXIT_OK
    rows = pq.read_table(kept / "decisions", columns=["key", "keep", "duplicate_of"]).to_pylist()
    dropped = {row["key"]: row["duplicate_of"] for row in rows if not row["keep"]}
    assert len(dropped) >= len(stored) - 2  # of a few the hash is another
    assert all(key.startswith(f"{copy}/") and other == f"{original}/{key[2:]}" for key, other in dropped.items())


@needs_shared
def test_of_real_faces_that_were_recompressed_mirrored_and_brightened_the_original_stays_wherever_it_lies():
    pytest.importorskip("onnxruntime", reason="extra [onnx] is not installed")
    models = FACES.parent / "models"
    faces = read_faces(FACES, 120)
    copies = altered_copies(faces, np.random.default_rng(0), each=4)
    embeddings = Network(models, "edgeface")([*faces, *copies])
    quality = Network(models, "quality")([*faces, *copies])
    for copies_first in (True, False):
        kept = originals_kept(faces, copies, quality, embeddings, copies_first)
        assert [kept[kind] for kind in DECIDED] == [4, 4, 4]
        assert kept["upscaled"] == 0  # documented: a larger picture is taken for the original
    assert set(kept) <= set(KINDS)


def test_every_table_says_the_stored_bytes_and_their_quantisation(tmp_path):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (112, 112, 3), np.uint8))
    (tmp_path / "faces").mkdir()
    image.save(tmp_path / "faces" / "a.jpg", quality=90)
    image.save(tmp_path / "faces" / "b.png")
    image.save(tmp_path / "faces" / "c.webp")
    (tmp_path / "faces" / "d.jpg").write_bytes((tmp_path / "faces" / "a.jpg").read_bytes()[:300])
    scoring = ["--input", str(tmp_path / "faces"), "--output", str(tmp_path / "out")]
    score_dataset.run(scoring, MeanScorerSource())
    rows = {row["key"]: row for row in load_quality(tmp_path / "out", to="arrow").to_pylist()}
    sizes = {path.name: path.stat().st_size for path in Path(tmp_path / "faces").iterdir()}
    assert {key: row["bytes"] for key, row in rows.items()} == sizes
    assert [rows[key]["quantisation"] for key in ("a.jpg", "b.png", "c.webp", "d.jpg")] == [11.5, 0.0, None, None]
    query = f"SELECT typeof(bytes), typeof(quantisation) FROM '{tmp_path}/out/quality/*.parquet' LIMIT 1"
    assert duckdb.sql(query).fetchall() == [("BIGINT", "FLOAT")]
