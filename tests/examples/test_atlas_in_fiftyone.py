"""The FiftyOne example, with a stand-in for FiftyOne that keeps what it is given (docs/atlas.md says what was run)."""

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from examples.atlas_in_fiftyone import BRAIN_KEY, dataset_of
from schemas.atlas import COLUMNS, THUMBNAIL
from schemas.columns import schema_of
from tests.makers.images import jpeg_bytes


def test_each_face_becomes_a_sample_with_its_columns_and_its_place(tmp_path, monkeypatch):
    given: dict[str, list] = {"samples": [], "maps": []}
    core, brain = ModuleType("fiftyone"), ModuleType("fiftyone.brain")
    core.Sample = lambda **fields: fields
    core.Classification = lambda label: ("class", label)
    core.Dataset = lambda name, **_: SimpleNamespace(name=name, add_samples=given["samples"].extend)
    core.brain = brain
    brain.compute_visualization = lambda _, points, brain_key: given["maps"].append((brain_key, points))
    monkeypatch.setitem(sys.modules, "fiftyone", core)
    monkeypatch.setitem(sys.modules, "fiftyone.brain", brain)
    pictures = [{"bytes": jpeg_bytes(1, 48), "path": "../../a.jpg"}, None, {"bytes": jpeg_bytes(2, 48), "path": "b"}]
    columns = {
        "x": [1, 2, 3], "y": [4, 5, 6], "thumbnail": pa.array(pictures, THUMBNAIL),
        "thumbnail_problem": [None, "gone", None], "key": ["k0", "k1", None], "shard": ["s"] * 3, "index": [0, 1, 2],
        "sha256": [None] * 3, "label": ["<b>", "x", None], "quality": [0.5, None, None], "status": ["scored"] * 3,
    }  # fmt: skip
    pq.write_table(pa.table(columns, schema_of(COLUMNS)), tmp_path / "atlas.parquet")
    dataset = dataset_of(tmp_path / "atlas.parquet", tmp_path / "faces", "name")
    assert dataset.name == "name"
    first, last = given["samples"]
    assert first == {
        "filepath": str(tmp_path / "faces" / "0000000.jpg"), "key": "k0", "shard": "s", "index": 0, "quality": 0.5,
        "status": "scored", "identity": ("class", "<b>"),
    }  # fmt: skip
    assert set(last) == {"filepath", "shard", "index", "status"}
    assert (tmp_path / "faces" / "0000002.jpg").read_bytes() == pictures[2]["bytes"]
    assert sorted(path.name for path in (tmp_path / "faces").iterdir()) == ["0000000.jpg", "0000002.jpg"]
    ((key, points),) = given["maps"]
    assert key == BRAIN_KEY
    assert np.array_equal(points, [[1, 4], [3, 6]])
