"""--heads: asked for where neither a checkpoint's size nor its file tells, and part of what a table says of itself."""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load, save_file

from fiqa_core.images.preprocess import from_image
from fiqa_core.models import read_embedded
from fiqa_core.networks.architectures import named
from fiqa_core.networks.checkpoints import load_checkpoint
from fiqa_core.networks.vit_fiqa import ViTConfig, ViTFIQA
from fiqa_core.training.export import write_model
from pipelines import embed_dataset, score_dataset
from tests.makers.onnx_models import write_linear
from transforms.model_handler import FaceQualityModelHandler


@pytest.fixture
def data(tmp_path: Path) -> tuple[str, str]:
    """A checkpoint that does not say its 4 heads, and a folder with an image."""
    torch.manual_seed(0)
    network = ViTFIQA(ViTConfig(48, 2, 4, 28)).eval()
    torch.nn.init.normal_(network.qs_token)
    torch.save(network.state_dict(), tmp_path / "m.pt")
    (tmp_path / "in").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (112, 112, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "in" / "a.png")
    return str(tmp_path / "m.pt"), str(tmp_path / "in")


@pytest.mark.parametrize(("command", "option"), [(score_dataset, "--model"), (embed_dataset, "--model")])
def test_heads_are_asked_for_and_part_of_the_table_s_provenance(command, option, data, tmp_path, caplog) -> None:
    checkpoint, images = data
    output = tmp_path / "out"
    arguments = [option, checkpoint, "--input", images, "--output", str(output)]
    assert command.run(arguments) == 2
    assert "--heads N" in caplog.text
    assert command.run([*arguments, "--heads", "4"]) == 0
    assert json.loads((output / "run.json").read_text())["settings"]["arch"] == "vit_w48_d2_p28_h4"
    quality = pd.read_parquet(output / "quality").quality[0]
    pixels = np.asarray(Image.open(f"{images}/a.png"))
    handler = FaceQualityModelHandler(checkpoint, "cpu", heads=4)
    (result,) = handler.run_inference([pixels], handler.load_model())
    assert result.inference == pytest.approx(quality, abs=1e-5)
    assert command.run([*arguments, "--heads", "8", "--resume"]) == 2


def test_heads_are_for_checkpoints_only(tmp_path: Path, data: tuple[str, str], caplog) -> None:
    write_linear(tmp_path / "a.onnx", ("n", 3, 112, 112))
    places = ["--model", str(tmp_path / "a.onnx"), "--input", data[1], "--output", str(tmp_path / "out")]
    assert embed_dataset.run([*places, "--heads", "4"]) == 2
    assert "--heads is for checkpoints" in caplog.text


@pytest.mark.parametrize("arch", ["vit_w48_d1_p28", "vit_w48_d1_p28_h4", "vit_t"])
def test_a_network_that_was_trained_here_names_its_heads_where_its_size_does_not(arch: str, tmp_path: Path) -> None:
    config = named(arch, "token").config
    assert isinstance(config, ViTConfig)
    assert load_checkpoint(str(write_model(ViTFIQA(config), tmp_path))).arch == arch
    content = torch.load(tmp_path / "model.pt", weights_only=True)
    assert ("heads" in content) == (arch != "vit_t")


def test_a_size_that_arch_names_without_heads_does_not_stand_for_eight(tmp_path: Path) -> None:
    tensors = load(read_embedded())
    save_file(tensors, tmp_path / "m.safetensors")
    with pytest.raises(ValueError, match="--heads N"):
        load_checkpoint(str(tmp_path / "m.safetensors"), "vit_conv_w128_d3_p16", embeddings=False)
    assert load_checkpoint(str(tmp_path / "m.safetensors"), "vit_conv_w128_d3_p16_h4", embeddings=False).has_quality


def test_a_pipe_among_the_images_is_an_error_and_not_a_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(OSError, match="expected a regular file"):
        from_image(tmp_path / "pipe.jpg")
