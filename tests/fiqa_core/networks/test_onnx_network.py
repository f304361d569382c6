"""ONNX networks: what is recognised, what is refused before anything runs, and the numbers they give."""

import sys

import cv2
import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto

from fiqa_core.devices import DeviceError
from fiqa_core.images.preprocess import prepare
from fiqa_core.networks.onnx_input import OnnxInput, OnnxOptions
from fiqa_core.networks.onnx_network import OnnxNetwork
from fiqa_core.networks.onnx_session import OnnxError, onnx_device, read_onnx
from fiqa_core.scoring.onnx_scorer import OnnxScorer
from tests.makers.onnx_models import weights, write_linear, write_whole_batch
from tests.shared import SHARED, lfw_faces, needs_shared

MODELS = SHARED / "data" / "models"
NCHW = ("n", 3, 112, 112)


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (7, 112, 112, 3), np.uint8)


@pytest.fixture(scope="module")
def faces() -> np.ndarray:
    return np.stack([prepare(face.data).pixels for face in lfw_faces(7)])


def network(path, **options) -> OnnxNetwork:
    return OnnxNetwork(read_onnx(str(path)), OnnxOptions(**options), threads=1)


@pytest.mark.parametrize(
    ("shape", "given", "layout", "size", "batch"),
    [
        (NCHW, {}, "nchw", 112, 0),
        ((1, 3, 112, 112), {}, "nchw", 112, 1),
        ((2, 112, 112, 3), {}, "nhwc", 112, 2),
        (("n", 96, 96, 3), {}, "nhwc", 96, 0),
        (("n", 3, "h", "w"), {}, "nchw", 112, 0),
        (("n", "c", 112, 112), {"layout": "nchw"}, "nchw", 112, 0),
        (NCHW, {"batch": 3}, "nchw", 112, 3),
    ],
)
def test_layout_size_batch_and_output_are_recognised_from_the_shapes(tmp_path, shape, given, layout, size, batch):
    linear_shape = [3 if axis == "c" else axis for axis in shape]
    path = write_linear(tmp_path / "a.onnx", shape) if "c" not in shape else rewritten(tmp_path, shape, linear_shape)
    found = network(path, **given).input
    assert found == OnnxInput(layout, size, "rgb", (127.5,), (127.5,), "emb", "embedding", batch)


def rewritten(tmp_path, shape, linear_shape):
    """A network of `linear_shape` that says `shape`."""
    import onnx

    model = onnx.load(write_linear(tmp_path / "a.onnx", linear_shape))
    for place, axis in enumerate(shape):
        if isinstance(axis, str):
            model.graph.input[0].type.tensor_type.shape.dim[place].dim_param = axis
    onnx.save(model, tmp_path / "b.onnx")
    return tmp_path / "b.onnx"


@pytest.mark.parametrize(
    ("shape", "settings", "said"),
    [
        (("n", 112, 112, 4), {}, "give --onnx-layout"),
        (("n", 4, 112, 112), {"layout": "nchw"}, "4 channels"),
        (("n", 3, 112, 96), {}, "not square"),
        (NCHW, {"size": 96}, "--onnx-size is 96"),
        ((2, 3, 112, 112), {"batch": 3}, "--onnx-batch is 3"),
        (NCHW, {"std": (0.0,)}, "--onnx-std"),
        (NCHW, {"mean": (1.0, 2.0)}, "--onnx-mean"),
        (NCHW, {"output": "fc1"}, "'fc1' is not there"),
        (NCHW, {"kind": "quality"}, "4 numbers an image are an embedding"),
    ],
)
def test_a_shape_or_option_that_does_not_fit_is_refused_before_anything_runs(tmp_path, shape, settings, said):
    path = write_linear(tmp_path / "a.onnx", shape)
    with pytest.raises(OnnxError, match=said):
        network(path, **settings)


def test_a_wrong_type_rank_or_output_is_refused(tmp_path):
    for path, said in (
        (write_linear(tmp_path / "type.onnx", NCHW, kind=TensorProto.DOUBLE), r"tensor\(double\)"),
        (write_linear(tmp_path / "rank.onnx", ("n", 3, 112)), "four axes"),
        (write_linear(tmp_path / "two.onnx", NCHW, outputs=("a", "b")), r"2 outputs \('a' .*'b' .*--onnx-output"),
        (write_linear(tmp_path / "one.onnx", NCHW, dim=1), "--output-kind quality"),
        (write_whole_batch(tmp_path / "sum.onnx"), "one vector an image"),
    ):
        with pytest.raises(OnnxError, match=said):
            network(path)
    assert network(tmp_path / "two.onnx", output="b").input.output == "b"


def test_what_is_no_model_is_refused_with_its_name(tmp_path):
    (tmp_path / "a.onnx").write_bytes(b"not a model")
    with pytest.raises(OnnxError, match=r"a\.onnx: not a readable ONNX model"):
        network(tmp_path / "a.onnx")
    with pytest.raises(OnnxError, match=r"b\.onnx: no such file"):
        network(tmp_path / "b.onnx")


def test_without_onnxruntime_the_message_names_the_extra(tmp_path, monkeypatch):
    path = write_linear(tmp_path / "a.onnx", NCHW)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(OnnxError, match=r"pip install -e '\.\[onnx\]'"):
        network(path)


def test_a_gpu_that_onnxruntime_cannot_use_is_an_error_and_never_a_cpu_run(tmp_path, monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    for name in ("cuda", "cuda:1"):
        with pytest.raises(DeviceError, match=name):
            onnx_device(name)
    assert onnx_device("auto") == "cpu"
    with pytest.raises(DeviceError, match="tpu"):
        onnx_device("tpu")
    # A CUDA build that cannot load CUDA's libraries goes on with the CPU and only logs it.
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    path = write_linear(tmp_path / "a.onnx", NCHW)
    with pytest.raises(DeviceError, match="could not use it"):
        OnnxNetwork(read_onnx(str(path)), OnnxOptions(), "cuda:0")


@pytest.mark.parametrize("color", ["rgb", "bgr"])
@pytest.mark.parametrize("shape", [NCHW, ("n", 96, 96, 3)])
def test_pixels_are_resized_ordered_and_normalised_as_asked(tmp_path, pixels, shape, color):
    mean, std = (10.0, 20.0, 30.0), (2.0, 3.0, 4.0)
    path = write_linear(tmp_path / "a.onnx", shape)
    found = network(path, color=color, mean=mean, std=std).forward(pixels)
    fed = np.stack([cv2.resize(image, (shape[2], shape[2]), interpolation=cv2.INTER_LINEAR) for image in pixels])
    fed = (fed[..., :: -1 if color == "bgr" else 1].astype(np.float64) - mean) / std
    if shape[1] == 3:
        fed = fed.transpose(0, 3, 1, 2)
    np.testing.assert_allclose(found, fed.reshape(7, -1) @ weights(shape, 4), rtol=1e-4, atol=1e-4)


def test_a_half_precision_network_gives_float32(tmp_path, pixels):
    half = network(write_linear(tmp_path / "h.onnx", NCHW, kind=TensorProto.FLOAT16)).forward(pixels)
    full = network(write_linear(tmp_path / "f.onnx", NCHW)).forward(pixels)
    assert half.dtype == np.float32
    np.testing.assert_allclose(half, full, atol=1e-3)


@pytest.mark.parametrize("batch", ["n", 1, 2, 5])
@pytest.mark.parametrize("count", [1, 2, 7])
def test_a_fixed_batch_is_filled_up_and_the_filling_is_never_returned(tmp_path, pixels, batch, count):
    scorer = OnnxScorer(network(write_linear(tmp_path / "a.onnx", (batch, 3, 112, 112))), batch_size=3)
    scores = scorer.score_pixels(pixels[:count])
    fed = ((pixels[:count] - 127.5) / 127.5).transpose(0, 3, 1, 2).reshape(count, -1)
    assert scores.quality is None
    np.testing.assert_allclose(scores.embedding, fed @ weights(NCHW, 4), atol=1e-5)


def test_a_flip_embedding_is_the_images_followed_by_its_mirror_images(tmp_path, pixels):
    plain = OnnxScorer(network(write_linear(tmp_path / "a.onnx", (2, 112, 112, 3))), batch_size=8)
    flipped = OnnxScorer(plain.network, batch_size=8, flip=True)
    found = flipped.score_pixels(pixels).embedding
    assert flipped.embedding_dim == 8
    np.testing.assert_array_equal(found[:, :4], plain.score_pixels(pixels).embedding)
    np.testing.assert_array_equal(found[:, 4:], plain.score_pixels(pixels[:, :, ::-1]).embedding)


@needs_shared
@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize(("name", "std"), [("fr_mobilefacenet", 128.0), ("fr_edgeface_xxs", 127.5)])
def test_real_networks_give_what_onnxruntime_gives_whatever_the_batch(faces, name, std, batch_size):
    path = MODELS / f"{name}.onnx"
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    fed = (faces.astype(np.float32) - np.float32(127.5)) / np.float32(std)
    if name == "fr_edgeface_xxs":
        (expected,) = session.run(None, {"input": fed.transpose(0, 3, 1, 2)})
    else:  # batches of two exactly
        pairs = np.concatenate([fed, fed[-1:]])
        expected = np.concatenate([session.run(None, {"input": pairs[i : i + 2]})[0] for i in range(0, 8, 2)])[:7]
    scorer = OnnxScorer(network(path, std=(std,)), batch_size)
    found = np.concatenate([scorer.score_pixels(faces[i : i + batch_size]).embedding for i in range(0, 7, batch_size)])
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


@needs_shared
def test_a_quality_network_scores_a_blurred_face_lower(faces):
    scorer = OnnxScorer(
        network(MODELS / "lightqnet-dm050.onnx", color="bgr", mean=(128.0,), std=(128.0,), kind="quality"), 8
    )
    sharp = scorer.score_pixels(faces)
    blurred = scorer.score_pixels(np.stack([cv2.GaussianBlur(face, (0, 0), 4) for face in faces]))
    assert sharp.embedding is None
    assert sharp.quality.shape == (7,)
    assert (blurred.quality < sharp.quality).all()
