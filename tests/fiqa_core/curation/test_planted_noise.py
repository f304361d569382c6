"""The detectors on real faces with planted noise: a quick version of benchmarks/planted_noise.py."""

import numpy as np
import pytest

from benchmarks.planted_faces import NEAR, Network, read_faces, swapped, with_copies
from benchmarks.planted_noise import precision_recall, searched
from tests.shared import FACES, needs_shared


@needs_shared
def test_swapped_labels_and_near_duplicates_are_found_among_real_faces():
    pytest.importorskip("onnxruntime", reason="extra [onnx] is not installed")
    faces = read_faces(FACES, 400, least=20)
    random = np.random.default_rng(0)
    every = [*faces, *with_copies(faces, random)]
    embeddings = Network(FACES.parent / "models", "edgeface")(every)
    people = [face.person for face in every]
    labels = swapped(people, 0.05, random)
    found = searched(every, labels, np.linspace(0, 1, len(every)), embeddings)
    wrong = np.array([label != person for label, person in zip(labels, people, strict=True)])
    good = np.array([face.kind not in ("blurred", "occluded") for face in every])
    precision, recall = precision_recall((found.verdict == "wrong_label")[good], wrong[good])
    assert precision >= 0.9
    assert recall >= 0.9
    near = [(face.original, place) for place, face in enumerate(every) if face.kind in NEAR]
    assert len(near) >= 15
    assert np.mean([pair in found.pairs for pair in near]) >= 0.95
    # The others are photographs that LFW holds twice.
    assert np.mean([every[a].original == every[b].original for a, b in found.pairs]) >= 0.8
