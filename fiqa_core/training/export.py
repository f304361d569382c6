"""Write the result of a run: `model.pt` in the original's form, and a small file for scoring only."""

from dataclasses import replace
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from fiqa_core import storage
from fiqa_core.networks.vit_fiqa import ARCHITECTURES, ViTFIQA
from fiqa_core.training.errors import TrainingError
from fiqa_core.training.training_run import MODEL, SCORE_ONLY

TYPES = {"float32": torch.float32, "float16": torch.float16}


def write_model(network: ViTFIQA, output: Path) -> Path:
    """`model.pt`: the state dict under the original's tensor names, float32.

    The number of heads cannot be read from tensors. If the network does not have an original size with the original
    number of heads, the file is a dict with the state dict under `state_dict_backbone` and the number under `heads`.
    """
    tensors = {name: tensor.detach().cpu() for name, tensor in network.state_dict().items()}
    config = network.config
    is_original = any(replace(known, mode=config.mode) == config for known in ARCHITECTURES.values())
    content = tensors if is_original else {"state_dict_backbone": tensors, "heads": config.heads}
    target = output / MODEL
    with storage.temporary_for(str(output)) as path:
        with path.open("wb") as stream:  # a stream: torch writes a path's name into the file
            torch.save(content, stream)
        storage.publish(path, str(target))
    return target


def write_score_only(network: ViTFIQA, output: Path, kind: str, metadata: dict[str, str] | None = None) -> Path:
    """`model.safetensors`: only what a score in mode `token` needs, in float32 or float16.

    Left out: the embedding head, the mask token. Raises TrainingError for another mode or type.
    """
    if network.config.mode != "token":
        raise TrainingError(f"score_only: mode {network.config.mode} scores the embedding and needs all of the network")
    if kind not in TYPES:
        raise TrainingError(f"score_only is {kind!r}; expected {' or '.join(TYPES)}")
    tensors: dict[str, Tensor] = {}
    for name, tensor in network.state_dict().items():
        if name.startswith("feature.") or name == "mask_token":
            continue
        kept = tensor.detach().cpu()
        tensors[name] = (kept.to(TYPES[kind]) if kept.is_floating_point() else kept).contiguous()
    target = output / SCORE_ONLY
    described = {"format": "pt", "heads": str(network.config.heads), **(metadata or {})}
    storage.publish_bytes(safetensors.torch.save(tensors, described), str(output), str(target))
    return target
