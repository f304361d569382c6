"""Load a checkpoint into its network, or say exactly why not."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from fiqa_core.networks.architectures import ARCHITECTURES, Architecture, heads_named, named, recognise
from fiqa_core.networks.checkpoint_files import CheckpointError, CheckpointFile, read_checkpoint_file, shown
from fiqa_core.networks.iresnet import IResNet
from fiqa_core.networks.vit_fiqa import ViTConfig, ViTFIQA

__all__ = ["CheckpointError", "LoadedNetwork", "load_checkpoint", "require_quality"]

SHOWN = 4
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_WHOLE = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


@dataclass(frozen=True)
class LoadedNetwork:
    """A network ready for inference (eval mode, no gradients, float32 on the CPU), and its origin.

    `arch` and `mode` as in `fiqa_core.networks.architectures`; `sha256` (hex) is of the bytes of the file at
    `uri`; `has_quality` is False for a plain recognition IResNet, whose mode is `fr`.
    """

    network: ViTFIQA | IResNet
    arch: str
    mode: str
    embedding_dim: int
    has_quality: bool
    sha256: str
    uri: str


def load_checkpoint(
    uri: str,
    arch: str | None = None,
    mode: str | None = None,
    embeddings: bool = True,
    heads: int | None = None,
) -> LoadedNetwork:
    """Load original ViT-FIQA, CR-FIQA or plain IResNet weights from a file or folder at any fsspec URI.

    Architecture and mode are recognised from the tensors; `arch` and `mode` only assert them.
    `heads`: a ViT's attention heads, which no tensor shows. Needed if neither its file nor `arch` names them and it is
    not one of the original sizes. A number other than 8 is part of the name `LoadedNetwork.arch`.
    `embeddings=False` leaves out tensors that the score does not need. Raises CheckpointError (a ValueError)
    for anything that does not fit.
    """
    file = read_checkpoint_file(uri)
    try:
        found = recognise(file.tensors, _heads(file, arch, heads))
    except ValueError as error:
        raise CheckpointError(f"{file.uri}: {error}") from error
    _refuse_contradiction(file.uri, file.tensors, found, arch, mode)
    tensors = dict(file.tensors)
    if not embeddings and isinstance(found.config, ViTConfig) and found.mode == "token":
        tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith("feature.")}
    _refuse_unusable(file.uri, tensors)
    network = _fill(file.uri, found, tensors, embeddings)
    return LoadedNetwork(network, found.name, found.mode, found.embedding_dim, found.has_quality, file.sha256, file.uri)


def _heads(file: CheckpointFile, arch: str | None, heads: int | None) -> int | None:
    """The heads named by the file, the caller or an architecture's name; ValueError if the first two differ."""
    if heads is not None and (isinstance(heads, bool) or not isinstance(heads, int) or heads < 1):
        raise ValueError(f"heads is {heads!r}; expected a whole number of at least 1")
    if heads is not None and file.heads not in (None, heads):
        raise ValueError(
            f"asked for {heads} attention heads, but the file names {file.heads}. Leave it out to take the file's"
        )
    is_named = arch is not None and (arch in ARCHITECTURES or "_h" in arch)  # `vit_w128_d4_p16` names a size only
    return (
        heads or file.heads or (heads_named(arch) if is_named and "patch_embed.proj.weight" in file.tensors else None)
    )


def require_quality(loaded: LoadedNetwork) -> None:
    """Refuse a network that gives embeddings only. Raises CheckpointError."""
    if not loaded.has_quality:
        raise CheckpointError(
            f"{loaded.uri}: the {loaded.arch} in it has no quality head (a plain face recognition network); "
            "scoring needs a ViT-FIQA or CR-FIQA checkpoint"
        )


def _fill(uri: str, arch: Architecture, tensors: dict[str, Tensor], embeddings: bool) -> ViTFIQA | IResNet:
    network = arch.build(embeddings, mask_token="mask_token" in tensors)
    _fill_counters(network, tensors)
    differences = _differences(network, tensors)
    if differences:
        raise CheckpointError(
            f"{uri}: looks like {arch.name} in mode {arch.mode}, but {_some(differences)}. "
            f"{_advice(differences, embeddings)}"
        )
    # assign=True: the file's own tensors become the parameters, so nothing is initialised or copied.
    floats = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    network.load_state_dict(floats, assign=True)
    return network.eval().requires_grad_(False)


def _advice(differences: list[str], embeddings: bool) -> str:
    if embeddings and all(line.startswith("feature.") and "missing" in line for line in differences):
        return (
            "Its embedding head is not there: ask for the score only (--embedding-type none; embeddings=False), or "
            "give another checkpoint."
        )
    return "Use the checkpoint as its training wrote it, whole and unrenamed."


def _fill_counters(network: torch.nn.Module, tensors: dict[str, Tensor]) -> None:
    """Converted checkpoints may lack BatchNorm's step counters, which inference does not use."""
    for name in network.state_dict():
        if name.endswith("num_batches_tracked"):
            tensors.setdefault(name, torch.tensor(0))


def _refuse_contradiction(
    uri: str, tensors: Mapping[str, Tensor], found: Architecture, arch: str | None, mode: str | None
) -> None:
    if (arch or found.name) == found.name and (mode or found.mode) == found.mode:
        return
    try:
        wanted = named(arch or found.name, mode or _nearest_mode(arch, found))
    except ValueError as error:
        raise CheckpointError(f"{uri}: {error}; its tensors are {found.name} in mode {found.mode}") from error
    differences = _differences(wanted.build(mask_token="mask_token" in tensors), tensors)
    raise CheckpointError(
        f"{uri}: asked for {wanted.name} in mode {wanted.mode}, but its tensors are {found.name} in mode "
        f"{found.mode}: "
        f"{_some(differences)}. Leave arch and mode out to take what the file holds, or give the file that "
        "you meant."
    )


def _nearest_mode(arch: str | None, found: Architecture) -> str:
    """The found mode if the requested family has it; otherwise the mode that both families share."""
    try:
        return named(arch or found.name, found.mode).mode
    except ValueError:
        return "crfiqa"


def _differences(network: torch.nn.Module, tensors: Mapping[str, Tensor]) -> list[str]:
    """Differences between these tensors and the network's, worst first: shapes, then missing, then
    unexpected ones.
    """
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    shapes = [
        f"{name} is {tuple(tensors[name].shape)} (expected {shape})"
        for name, shape in expected.items()
        if name in tensors and tuple(tensors[name].shape) != shape
    ]
    missing = [
        f"{name} {shape} is missing"
        for name, shape in expected.items()
        if name not in tensors and not name.endswith("num_batches_tracked")
    ]
    unexpected = [
        f"{shown(name)} {tuple(tensors[name].shape)} is not expected" for name in tensors if name not in expected
    ]
    return shapes + missing + unexpected


def _some(differences: list[str]) -> str:
    """Some of each kind, and the number of all."""
    kinds: dict[str, list[str]] = {}
    for line in differences:
        kinds.setdefault(line.rsplit(" ", 1)[-1] if line.endswith(("missing", "expected")) else "shape", []).append(
            line
        )
    shown = [line for lines in kinds.values() for line in lines[:SHOWN]]
    return (
        f"{len(differences)} tensors differ: " + "; ".join(shown) + ("; ..." if len(shown) < len(differences) else "")
    )


def _refuse_unusable(uri: str, tensors: Mapping[str, Tensor]) -> None:
    others = [
        f"{shown(name)} ({str(tensor.dtype).removeprefix('torch.')})"
        for name, tensor in tensors.items()
        if tensor.dtype not in _FLOATS and not (name.endswith("num_batches_tracked") and tensor.dtype in _WHOLE)
    ]
    if others:
        raise CheckpointError(
            f"{uri}: {len(others)} tensors are not floating point of 16, 32 or 64 bits: {', '.join(others[:SHOWN])}; "
            "expected float weights. Quantised checkpoints (integers, 8-bit floats) cannot be loaded: give the float "
            "one, and choose the precision when scoring."
        )
    broken = [shown(name) for name, tensor in tensors.items() if not bool(torch.isfinite(tensor.float()).all())]
    if broken:
        raise CheckpointError(
            f"{uri}: {len(broken)} tensors hold NaN or infinity: {', '.join(broken[:SHOWN])}; every score "
            "would be NaN. "
            "The training diverged or the file is damaged: take an earlier checkpoint or download it again."
        )
