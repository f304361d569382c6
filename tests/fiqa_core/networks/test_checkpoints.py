"""Every way a checkpoint may be stored, and every file that is refused."""

import contextlib
import hashlib
import io
import os
import pickle
import re
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from pathlib import Path

import fsspec
import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor

from fiqa_core.networks.checkpoint_files import read_checkpoint_file
from fiqa_core.networks.checkpoints import CheckpointError, LoadedNetwork, load_checkpoint

Weights = dict[str, Tensor]
Maker = Callable[..., Weights]
FACES = torch.linspace(-1, 1, 3 * 3 * 112 * 112).view(3, 3, 112, 112).sin()


def save(content: object, path: Path) -> str:
    torch.save(content, path)
    return str(path)


def load_own(uri: str, **kwargs: object) -> LoadedNetwork:
    """`make_weights` makes ViTs of sizes of their own with 8 heads, which their tensors do not show."""
    return load_checkpoint(uri, **({"heads": 8} | kwargs))  # type: ignore[arg-type]


def scores(uri: str, **kwargs: object) -> Tensor:
    return load_own(uri, **kwargs).network.quality(FACES)


def refusal(uri: str, **kwargs: object) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_own(uri, **kwargs)
    assert uri in str(caught.value)
    return str(caught.value)


# --- routes -----------------------------------------------------------------------------------------------


def test_a_file_gives_a_frozen_network_in_eval_mode(make_weights: Maker, tmp_path: Path) -> None:
    uri = save(make_weights(), tmp_path / "model.pt")
    loaded = load_own(uri)
    assert (loaded.arch, loaded.mode, loaded.embedding_dim) == ("vit_w64_d2_p28", "token", 64)
    assert loaded.has_quality
    assert loaded.uri == uri
    assert loaded.sha256 == hashlib.sha256(Path(uri).read_bytes()).hexdigest()
    assert not loaded.network.training
    assert not any(parameter.requires_grad for parameter in loaded.network.parameters())
    with pytest.raises(FrozenInstanceError):
        loaded.arch = "vit_t"  # type: ignore[misc]


def _plain(weights: Weights) -> object:
    return weights


def _wrapped(weights: Weights) -> object:
    return {f"module.{name}": tensor for name, tensor in weights.items()}


def _compiled(weights: Weights) -> object:
    return {f"_orig_mod.module.{name}": tensor for name, tensor in weights.items()}


def _training(weights: Weights) -> object:
    return {"epoch": 3, "state_dict_backbone": weights, "state_optimizer": {"lr": [0.1]}, "lr_scheduler": {}}


def _state_dict(weights: Weights) -> object:
    return {"state_dict": _wrapped(weights), "epoch": 1}


def _model(weights: Weights) -> object:
    return {"model": weights}


def _model_state_dict(weights: Weights) -> object:
    return {"model_state_dict": weights, "optimizer_state_dict": {"lr": 0.1}, "epoch": 1}


@pytest.mark.parametrize("form", [_plain, _wrapped, _compiled, _training, _state_dict, _model_state_dict, _model])
def test_every_form_of_torch_checkpoint_loads_alike(
    form: Callable[[Weights], object], make_weights: Maker, tmp_path: Path
) -> None:
    weights = make_weights()
    torch.testing.assert_close(
        scores(save(form(weights), tmp_path / "any.pth")), scores(save(weights, tmp_path / "plain.pt"))
    )


def test_the_old_torch_file_format_loads(make_weights: Maker, tmp_path: Path) -> None:
    torch.save(make_weights(), tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    assert torch.equal(scores(str(tmp_path / "old.pt")), scores(save(make_weights(), tmp_path / "new.pt")))


@pytest.mark.parametrize("name", ["model.safetensors", "weights.bin"])
def test_safetensors_load_by_ending_or_by_content(name: str, make_weights: Maker, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(safetensors.torch.save(make_weights()))
    assert torch.equal(scores(str(tmp_path / name)), scores(save(make_weights(), tmp_path / "plain.pt")))


def test_a_folder_prefers_model_pt_then_backbone_then_safetensors(make_weights: Maker, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(safetensors.torch.save(make_weights()))
    assert load_own(str(tmp_path)).uri == f"{tmp_path}/model.safetensors"
    save(make_weights(), tmp_path / "181952backbone.pth")
    assert load_own(str(tmp_path)).uri == f"{tmp_path}/181952backbone.pth"
    save(make_weights(), tmp_path / "model.pt")
    assert load_own(f"{tmp_path}/").uri == f"{tmp_path}/model.pt"


def test_a_remote_folder_loads_through_fsspec(make_weights: Maker) -> None:
    buffer = io.BytesIO()
    torch.save(make_weights(), buffer)
    with fsspec.open("memory://zoo/vit/model.pt", "wb") as file:
        file.write(buffer.getvalue())
    loaded = load_own("memory://zoo/vit")
    assert loaded.uri == "memory://zoo/vit/model.pt"
    assert loaded.sha256 == hashlib.sha256(buffer.getvalue()).hexdigest()


def test_half_precision_weights_become_float32(make_weights: Maker, tmp_path: Path) -> None:
    half = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in make_weights().items()}
    network = load_own(save(half, tmp_path / "half.pt")).network
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}


def test_missing_batchnorm_counters_do_no_harm(make_weights: Maker, tmp_path: Path) -> None:
    weights = {name: tensor for name, tensor in make_weights().items() if "num_batches" not in name}
    assert torch.isfinite(scores(save(weights, tmp_path / "model.pt"))).all()


@pytest.mark.parametrize("masked", [True, False])
def test_the_mask_token_is_kept_where_there_is_one(masked: bool, make_weights: Maker, tmp_path: Path) -> None:
    weights = make_weights()
    if not masked:
        del weights["mask_token"]
    network = load_own(save(weights, tmp_path / "model.pt")).network
    assert set(network.state_dict()) == set(weights)


# --- recognising ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["token", "full", "crfiqa"])
@pytest.mark.parametrize("arch", ["vit_w64_d2_p28", "vit_w48_d1_p16", "vit_w24_d3_p9"])
def test_any_size_and_mode_of_vit_is_recognised(arch: str, mode: str, make_weights: Maker, tmp_path: Path) -> None:
    loaded = load_own(save(make_weights(arch, mode), tmp_path / "model.pt"), arch=arch, mode=mode)
    assert (loaded.arch, loaded.mode) == (arch, mode)
    embedding, quality = loaded.network(FACES)
    assert embedding.shape == (3, loaded.embedding_dim)
    assert quality is not None
    torch.testing.assert_close(loaded.network.quality(FACES), quality.squeeze(1))


def test_an_iresnet_without_quality_head_gives_embeddings_only(make_weights: Maker, tmp_path: Path) -> None:
    loaded = load_own(save(make_weights("iresnet_1-1-1-1", "fr"), tmp_path / "backbone.pth"), heads=None)
    assert (loaded.arch, loaded.mode, loaded.has_quality) == ("iresnet_1-1-1-1", "fr", False)
    embedding, quality = loaded.network(FACES)
    assert embedding.shape == (3, 512)
    assert quality is None
    with pytest.raises(RuntimeError, match=r"no quality head.*embeddings only"):
        loaded.network.quality(FACES)


@pytest.mark.parametrize("stored", ["with feature", "without feature"])
def test_score_only_loading_leaves_the_embedding_head_out(stored: str, make_weights: Maker, tmp_path: Path) -> None:
    weights = make_weights()
    whole = scores(save(weights, tmp_path / "whole.pt"))
    if stored == "without feature":
        weights = {name: tensor for name, tensor in weights.items() if not name.startswith("feature.")}
    loaded = load_own(save(weights, tmp_path / "model.pt"), embeddings=False)
    assert not any(name.startswith("feature.") for name in loaded.network.state_dict())
    assert torch.equal(loaded.network.quality(FACES), whole)
    with pytest.raises(RuntimeError, match="embeddings=False"):
        loaded.network(FACES)


@pytest.mark.parametrize("mode", ["full", "crfiqa"])
def test_score_only_loading_keeps_the_head_that_the_score_needs(mode: str, make_weights: Maker, tmp_path: Path) -> None:
    uri = save(make_weights(mode=mode), tmp_path / "model.pt")
    assert torch.equal(scores(uri, embeddings=False), scores(uri))


# --- contradictions and wrong tensors ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (
            {"arch": "vit_t"},
            r"asked for vit_t in mode token.*tensors are vit_w64_d2_p28.*qs_token is \(1, 1, 64\)",
        ),
        ({"mode": "full"}, r"feature.0.weight is \(64, 1024\) \(expected \(64, 1088\)\)"),
        (
            {"mode": "crfiqa"},
            r"pos_embed is \(1, 17, 64\) \(expected \(1, 16, 64\)\).*qs_token .*not expected",
        ),
        (
            {"arch": "iresnet50"},
            r"asked for iresnet50 in mode crfiqa.*conv1.weight \(64, 3, 3, 3\) is missing",
        ),
        ({"arch": "vit_w64_d3_p28"}, r"blocks.2.norm1.weight \(64,\) is missing"),
        ({"arch": "resnet18"}, r"arch 'resnet18' is not known; expected one of vit_t, vit_s"),
        ({"mode": "tokens"}, r"mode 'tokens' is not one of .*expected one of token, full, crfiqa"),
    ],
)
def test_a_contradiction_names_tensors_found_and_expected(
    asked: dict[str, str], told: str, make_weights: Maker, tmp_path: Path
) -> None:
    message = refusal(save(make_weights(), tmp_path / "model.pt"), **asked)
    assert re.search(told, message, re.DOTALL), message


def test_asking_a_plain_iresnet_for_quality_is_refused(make_weights: Maker, tmp_path: Path) -> None:
    uri = save(make_weights("iresnet_1-1-1-1", "fr"), tmp_path / "backbone.pth")
    assert "qs.weight (1, 512) is missing" in refusal(uri, mode="crfiqa", heads=None)


def test_missing_and_unexpected_tensors_are_named_and_counted(make_weights: Maker, tmp_path: Path) -> None:
    weights = make_weights()
    weights["head_quality.weight"] = weights.pop("head_qs.1.weight")
    message = refusal(save(weights, tmp_path / "model.pt"))
    assert "2 tensors differ" in message
    assert "head_qs.1.weight (1, 64) is missing" in message
    assert "head_quality.weight (1, 64) is not expected" in message


def test_a_wrong_shape_is_named(make_weights: Maker, tmp_path: Path) -> None:
    weights = make_weights()
    weights["norm.weight"] = weights["norm.weight"][:60]
    assert "norm.weight is (60,) (expected (64,))" in refusal(save(weights, tmp_path / "model.pt"))


def test_asking_a_score_only_file_for_embeddings_says_how_to_load_it(make_weights: Maker, tmp_path: Path) -> None:
    weights = {name: tensor for name, tensor in make_weights().items() if not name.startswith("feature.")}
    assert "embeddings=False" in refusal(save(weights, tmp_path / "model.pt"))


def test_another_image_size_is_refused(make_weights: Maker, tmp_path: Path) -> None:
    weights = make_weights()
    weights["pos_embed"] = torch.zeros(1, 65, 64)
    message = refusal(save(weights, tmp_path / "model.pt"))
    assert "pos_embed has 65 tokens; expected 17" in message
    assert "224x224" in message


def test_a_width_that_heads_do_not_divide_is_refused(make_weights: Maker, tmp_path: Path) -> None:
    weights = make_weights()
    weights["patch_embed.proj.weight"] = torch.zeros(60, 3, 28, 28)
    assert "width 60 does not divide into 8" in refusal(save(weights, tmp_path / "model.pt"))


def test_another_network_is_refused(tmp_path: Path) -> None:
    message = refusal(save(torch.nn.Linear(3, 2).state_dict(), tmp_path / "model.pt"))
    assert "not a network known here: 2 tensors, the first of them weight, bias" in message


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(value: float, make_weights: Maker, tmp_path: Path) -> None:
    weights = make_weights()
    weights["blocks.1.mlp.fc1.weight"][3, 3] = value
    message = refusal(save(weights, tmp_path / "model.pt"))
    assert "1 tensors hold NaN or infinity: blocks.1.mlp.fc1.weight" in message


def test_integer_weights_are_refused(make_weights: Maker, tmp_path: Path) -> None:
    weights = make_weights()
    weights["norm.weight"] = weights["norm.weight"].to(torch.int8)
    assert "norm.weight (int8)" in refusal(save(weights, tmp_path / "model.pt"))


# --- files that are no checkpoints ------------------------------------------------------------------------


class _Malicious:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("owned",)


def test_a_malicious_pickle_is_refused_and_does_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_weights: Maker
) -> None:
    monkeypatch.chdir(tmp_path)
    for content in (_Malicious(), {"state_dict": make_weights(), "extra": _Malicious()}):
        message = refusal(save(content, tmp_path / "model.pt"))
        assert "could run any code" in message
        assert "mkdir" in message
    (tmp_path / "bare.pkl").write_bytes(pickle.dumps(_Malicious()))
    assert refusal(str(tmp_path / "bare.pkl"))
    assert not (tmp_path / "owned").exists()


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 303965\n"


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "the file is empty"),
        (b"epoch 1 loss 3.2\n" * 50, "a text file, not weights"),
        (b"\n<!DOCTYPE html><html><title>Google Drive</title>", "a web page.*login"),
        (LFS, "git lfs pull"),
        (b"\xff\xd8\xff\xe0" + bytes(600), "not a checkpoint|cannot be read as a checkpoint"),
        (b"PK\x03\x04" + bytes(600), "cut short"),
        (b"\x80\x02}q\x00.", "cannot be read as a checkpoint|not a checkpoint|holds"),
        (b"\x80\x02.", r"cannot be read as a checkpoint \(3 bytes; IndexError.*download or save it again"),
    ],
)
def test_files_of_other_kinds_are_refused_by_what_they_are(data: bytes, told: str, tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(data)
    assert re.search(told, refusal(str(tmp_path / "model.pt")), re.DOTALL)


def test_an_onnx_network_is_refused_with_the_command_that_takes_it(tmp_path: Path) -> None:
    path = tmp_path / "network.ONNX"
    path.write_bytes(b"\x08\x08\x12\x07pytorch")
    with pytest.raises(CheckpointError, match=r"an ONNX network, not a checkpoint.*fiqa embed --output-kind quality"):
        load_checkpoint(str(path))


@pytest.mark.parametrize("kept", [0.3, 0.999])
@pytest.mark.parametrize("kind", ["torch", "safetensors"])
def test_a_file_cut_short_is_refused(kept: float, kind: str, make_weights: Maker, tmp_path: Path) -> None:
    path = tmp_path / ("model.pt" if kind == "torch" else "model.safetensors")
    if kind == "torch":
        save(make_weights(), path)
    else:
        path.write_bytes(safetensors.torch.save(make_weights()))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    assert "download or save it again" in refusal(str(path))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("kind", ["torch", "old torch", "safetensors"])
def test_a_file_with_damaged_bytes_loads_or_is_refused_and_never_fails_otherwise(kind: str, tmp_path: Path) -> None:
    weights = {"weight": torch.zeros(2, 3), "bias": torch.zeros(2)}
    path = tmp_path / ("model.safetensors" if kind == "safetensors" else "model.pt")
    if kind == "safetensors":
        path.write_bytes(safetensors.torch.save(weights))
    else:
        torch.save(weights, path, _use_new_zipfile_serialization=kind == "torch")
    whole, random = path.read_bytes(), np.random.default_rng(0)
    for _ in range(300):
        data = bytearray(whole)
        for place in random.integers(0, min(len(data), 700), 3):
            data[place] = random.integers(0, 256)
        path.write_bytes(data)
        with contextlib.suppress(CheckpointError):
            read_checkpoint_file(str(path))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ([1, 2, 3], "holds a list"),
        (torch.zeros(3), "holds a Tensor"),
        ({"epoch": 3, "lr": 0.1}, r"2 entries are not tensors: epoch \(int\), lr \(float\)"),
        ({}, "an empty dict"),
    ],
)
def test_torch_files_without_a_state_dict_are_refused(content: object, told: str, tmp_path: Path) -> None:
    assert re.search(told, refusal(save(content, tmp_path / "model.pt")))


def test_a_whole_pickled_module_is_refused(tmp_path: Path) -> None:
    message = refusal(save(torch.nn.Linear(2, 2), tmp_path / "model.pt"))
    assert "save only `model.state_dict()`" in message


# --- places ----------------------------------------------------------------------------------------------


def test_a_missing_path_says_what_was_expected(tmp_path: Path) -> None:
    assert "no such file or folder" in refusal(str(tmp_path / "nothing"))


def test_a_folder_without_checkpoint_lists_what_was_looked_for_and_found(tmp_path: Path) -> None:
    (tmp_path / "readme.txt").write_text("hello")
    message = refusal(str(tmp_path))
    assert "looked for model.pt, *backbone.pth, model.safetensors, found readme.txt" in message


def test_two_backbones_in_a_folder_are_refused(make_weights: Maker, tmp_path: Path) -> None:
    for step in (1, 2):
        (tmp_path / f"{step}backbone.pth").write_bytes(b"x")
    assert "2 files match *backbone.pth: 1backbone.pth, 2backbone.pth" in refusal(str(tmp_path))


def test_an_unknown_protocol_is_refused() -> None:
    assert "not a URI this installation can open" in refusal("nosuch://bucket/model.pt")


def test_the_same_tensor_with_and_without_prefix_is_refused(make_weights: Maker, tmp_path: Path) -> None:
    weights = make_weights()
    weights["module.pos_embed"] = weights["pos_embed"].clone()
    assert "pos_embed occurs twice" in refusal(save(weights, tmp_path / "model.pt"))
