"""A ViT-FIQA whose tokens come from MobileFaceNet's convolutions: its start weights, and its checkpoint's way home."""

import numpy as np
import onnx
import pytest
import safetensors.torch
import torch

from fiqa_core.networks.checkpoints import CheckpointError, load_checkpoint
from fiqa_core.networks.conv_stem import ConvStem
from fiqa_core.networks.exits import Exits
from fiqa_core.networks.int8 import quantise_blocks
from fiqa_core.networks.onnx_export import export_quality
from fiqa_core.networks.onnx_file import OnnxError
from fiqa_core.networks.start_weights import start_from
from fiqa_core.networks.vit_fiqa import ViTConfig
from fiqa_core.training.export import write_score_only
from fiqa_core.training.network import new_network
from tests.makers.faces import SHARED
from tests.makers.onnx_models import write_linear

MOBILEFACENET = SHARED / "data" / "models" / "fr_mobilefacenet.onnx"
needs_mobilefacenet = pytest.mark.skipif(not MOBILEFACENET.is_file(), reason="needs shared/data/models beside it")
LAST_OF = {8: "Conv2d_4_InvResBlock_5/Add", 16: "Conv2d_6_InvResBlock_1/Add"}  # names in that file
FACES = torch.rand(2, 3, 112, 112, generator=torch.Generator().manual_seed(5)) * 2 - 1


def network_of(patch=16, depth=2):
    torch.manual_seed(3)
    return new_network(ViTConfig(32, depth, 4, patch, stem="mobilefacenet"), masking=False).eval()


def written(folder, network):
    return write_score_only(network, folder, "float32")


@needs_mobilefacenet
@pytest.mark.parametrize("patch", [8, 16])
def test_a_stem_that_starts_from_mobilefacenet_gives_that_networks_own_features(patch):
    stem = ConvStem(16, patch)
    start_from(stem, str(MOBILEFACENET))
    model = onnx.load(MOBILEFACENET)
    name = f"MobileFaceNet/MobileFaceNet/{LAST_OF[patch]}"
    model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    fed = (FACES * (127.5 / 128)).permute(0, 2, 3, 1).contiguous().numpy()
    (expected,) = session.run([name], {"input": fed})
    with torch.inference_mode():
        features = stem.before(len(stem.stem), FACES)
        tokens = stem(FACES)
        own = stem.proj(torch.from_numpy(expected)).flatten(2).transpose(1, 2)
    np.testing.assert_allclose(features.flip(2, 3).numpy(), expected, atol=2e-4 * np.abs(expected).max())
    np.testing.assert_allclose(tokens.numpy(), own.numpy(), atol=2e-4 * float(own.abs().max()))


def test_a_stem_does_not_start_from_another_network(tmp_path):
    with pytest.raises(OnnxError, match="has 0 convolutions"):
        start_from(ConvStem(16, 16), str(write_linear(tmp_path / "other.onnx", ["n", 3, 112, 112])))


@pytest.mark.parametrize("patch", [8, 16])
def test_a_checkpoint_with_a_convolutional_stem_is_recognised_and_scores_the_same(tmp_path, patch):
    network = network_of(patch)
    loaded = load_checkpoint(str(written(tmp_path, network)), embeddings=False)
    assert (loaded.arch, loaded.mode) == (f"vit_conv_w32_d2_p{patch}_h4", "token")
    with torch.inference_mode():
        expected = network(FACES)[1].squeeze(1)
        assert torch.allclose(loaded.network.quality(FACES), expected, atol=1e-6)
        assert not torch.allclose(loaded.network.quality(FACES, Exits(1)), expected, atol=1e-6)
        loaded.network.to_half(torch.bfloat16)
        assert torch.allclose(loaded.network.quality(FACES), expected, atol=0.05)
    again = load_checkpoint(str(tmp_path / "model.safetensors"), arch=loaded.arch, embeddings=False)
    assert again.network.config == network.config


def test_a_stem_of_another_depth_is_refused_by_its_number_of_layers(tmp_path):
    path = written(tmp_path, network_of())
    tensors = safetensors.torch.load_file(path)
    fewer = {name: tensor for name, tensor in tensors.items() if not name.startswith("patch_embed.stem.16.")}
    safetensors.torch.save_file(fewer, path, {"heads": "4"})
    with pytest.raises(CheckpointError, match="convolutional stem of 16 layers; expected 14 or 17"):
        load_checkpoint(str(path), embeddings=False)
    safetensors.torch.save_file({**tensors, "patch_embed.stem.9999.conv.bias": torch.zeros(1)}, path, {"heads": "4"})
    with pytest.raises(CheckpointError, match="more than 3 digits"):
        load_checkpoint(str(path), embeddings=False)


def test_a_network_with_a_convolutional_stem_is_exported_and_quantised(tmp_path):
    loaded = load_checkpoint(str(written(tmp_path, network_of())), embeddings=False)
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(export_quality(loaded), providers=["CPUExecutionProvider"])
    with torch.inference_mode():
        expected = loaded.network.quality(FACES).numpy()
        np.testing.assert_allclose(session.run(None, {"faces": FACES.numpy()})[0], expected, atol=1e-5)
        quantise_blocks(loaded.network)
        np.testing.assert_allclose(loaded.network.quality(FACES).numpy(), expected, atol=0.05)
