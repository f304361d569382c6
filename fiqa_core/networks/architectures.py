"""Networks by name, and by the tensors of a checkpoint.

Names: `vit_t`, `vit_s`, `vit_b`, `iresnet50`, `iresnet100`, or another size such as `vit_w192_d6_p16`
(width, depth, patch; 8 heads, or another number by `_h6` at the end), the same with a convolutional stem as
`vit_conv_w192_d4_p16`, and `iresnet_2-2-2-2` (blocks per stage).
Modes: a ViT's `token`, `full`, `crfiqa`; an IResNet's `crfiqa` (with quality head) and `fr` (embeddings
only).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isqrt
from typing import Literal, cast

import torch
from torch import Tensor

from fiqa_core.networks import conv_stem, iresnet, vit_fiqa
from fiqa_core.networks.checkpoint_files import shown
from fiqa_core.networks.iresnet import IResNet, IResNetConfig
from fiqa_core.networks.vit_fiqa import ViTConfig, ViTFIQA

FRMode = Literal["fr"]
AnyMode = vit_fiqa.Mode | FRMode
IMAGE = 112
_DIGITS = 3  # of a block's number

ARCHITECTURES: dict[str, ViTConfig | IResNetConfig] = {**vit_fiqa.ARCHITECTURES, **iresnet.ARCHITECTURES}


@dataclass(frozen=True)
class Architecture:
    """A network's name, mode and the configuration that builds it."""

    name: str
    mode: AnyMode
    config: ViTConfig | IResNetConfig

    @property
    def has_quality(self) -> bool:
        return self.mode != "fr"

    @property
    def embedding_dim(self) -> int:
        return self.config.width if isinstance(self.config, ViTConfig) else iresnet.EMBEDDING

    def build(self, embeddings: bool = True, mask_token: bool = False) -> ViTFIQA | IResNet:
        """The network with tensors on the meta device: shapes without memory or random numbers."""
        with torch.device("meta"):
            if isinstance(self.config, ViTConfig):
                return ViTFIQA(self.config, embeddings, mask_token)
            return IResNet(self.config)


def named(name: str, mode: str) -> Architecture:
    """The architecture of that name and mode; ValueError names the known ones."""
    config = ARCHITECTURES.get(name) or _own_size(name)
    if config is None:
        known = ", ".join(ARCHITECTURES)
        raise ValueError(f"arch {name!r} is not known; expected one of {known}, or a size such as vit_w192_d6_p16")
    modes = vit_fiqa.MODES if isinstance(config, ViTConfig) else ("crfiqa", "fr")
    if mode not in modes:
        raise ValueError(f"mode {mode!r} is not one of {name}'s; expected one of {', '.join(modes)}")
    if isinstance(config, ViTConfig):
        vit_mode = cast(vit_fiqa.Mode, mode)
        return Architecture(name, vit_mode, replace(config, mode=vit_mode))
    return Architecture(name, cast(AnyMode, mode), replace(config, has_quality=mode != "fr"))


def _own_name(config: ViTConfig) -> str:
    heads = "" if config.heads == vit_fiqa.HEADS else f"_h{config.heads}"
    stem = "" if config.stem == "patch" else "conv_"
    return f"vit_{stem}w{config.width}_d{config.depth}_p{config.patch}{heads}"


def _own_size(name: str) -> ViTConfig | IResNetConfig | None:
    if vit := re.fullmatch(r"vit_(conv_)?w(\d+)_d(\d+)_p(\d+)(?:_h(\d+))?", name):
        conv, *numbers = vit.groups()
        width, depth, patch, heads = (int(number or vit_fiqa.HEADS) for number in numbers)
        return ViTConfig(width, depth, heads, patch, stem="mobilefacenet" if conv else "patch")
    if resnet := re.fullmatch(r"iresnet_(\d+)-(\d+)-(\d+)-(\d+)", name):
        one, two, three, four = map(int, resnet.groups())
        return IResNetConfig((one, two, three, four))
    return None


def heads_named(arch: str | None) -> int | None:
    """Attention heads of the architecture with this name; None: unknown, or not a ViT."""
    config = None if arch is None else ARCHITECTURES.get(arch) or _own_size(arch)
    return config.heads if isinstance(config, ViTConfig) else None


def recognise(tensors: Mapping[str, Tensor], heads: int | None = None) -> Architecture:
    """The architecture that these tensors belong to; ValueError says which tensor decides and why none fits.

    `heads`: a ViT's attention heads, which no tensor shows; None: unknown, which is enough for the original sizes (8).
    """
    if "patch_embed.proj.weight" in tensors and "pos_embed" in tensors:
        return _recognise_vit(tensors, heads)
    if "conv1.weight" in tensors and "layer1.0.conv1.weight" in tensors:
        if heads is not None:
            raise ValueError(f"{heads} attention heads were asked for, but it is an IResNet, which has none")
        return _recognise_iresnet(tensors)
    some = ", ".join(shown(name) for name in list(tensors)[:5])
    raise ValueError(
        f"not a network known here: {len(tensors)} tensors, the first of them {some}; expected a ViT "
        "(patch_embed.proj.weight, "
        "pos_embed, blocks.0...) or an IResNet (conv1.weight, layer1.0.conv1.weight, ...)"
    )


def _recognise_vit(tensors: Mapping[str, Tensor], heads: int | None) -> Architecture:
    kernel, positions = tensors["patch_embed.proj.weight"].shape, tensors["pos_embed"].shape
    has_stem = any(name.startswith("patch_embed.stem.") for name in tensors)
    if len(kernel) != 4 or kernel[2] != kernel[3] or len(positions) != 3 or not kernel[2]:
        raise ValueError(
            f"patch_embed.proj.weight is {tuple(kernel)} and pos_embed {tuple(positions)}; expected (D, 3, "
            "patch, patch), or (D, channels, 1, 1) with a convolutional stem, and (1, tokens, D)"
        )
    width, patch, tokens = kernel[0], kernel[2], positions[1]
    if has_stem:
        patch = _stem_patch(tensors)
    mode = _vit_mode(tensors, width, tokens)
    expected = (IMAGE // patch) ** 2 + (mode != "crfiqa")
    if tokens != expected:
        side = isqrt(tokens - (mode != "crfiqa")) * patch
        raise ValueError(
            f"pos_embed has {tokens} tokens; expected {expected} for {IMAGE}x{IMAGE} faces, patch {patch} "
            f"and mode {mode}. "
            f"It seems trained on images of about {side}x{side} pixels, which this network does not take."
        )
    depth = _count(tensors, r"blocks\.([0-9]+)\.")
    if heads is None:
        heads = _known_heads(width, depth, patch)
    config = ViTConfig(width, depth, heads, patch, mode=mode, stem="mobilefacenet" if has_stem else "patch")
    standard = {replace(known, mode=mode): name for name, known in vit_fiqa.ARCHITECTURES.items()}
    return Architecture(standard.get(config, _own_name(config)), mode, config)


def _stem_patch(tensors: Mapping[str, Tensor]) -> int:
    """The patch size of a convolutional stem, by its number of layers."""
    layers = _count(tensors, r"patch_embed\.stem\.([0-9]+)\.")
    for patch in conv_stem.PATCHES:
        if conv_stem.layer_count(patch) == layers:
            return patch
    known = " or ".join(str(conv_stem.layer_count(patch)) for patch in conv_stem.PATCHES)
    raise ValueError(f"a ViT with a convolutional stem of {layers} layers; expected {known}")


def _known_heads(width: int, depth: int, patch: int) -> int:
    for known in vit_fiqa.ARCHITECTURES.values():
        if (known.width, known.depth, known.patch) == (width, depth, patch):
            return known.heads
    possible = ", ".join(str(heads) for heads in range(1, min(width, 64) + 1) if width % heads == 0)
    raise ValueError(
        f"a ViT of width {width}, depth {depth} and patch {patch}, which is not one of the original sizes, and neither "
        "its tensors nor its file say how many attention heads it has; other heads give other scores without an error. "
        f"Give the number that it was trained with: --heads N (in Python heads=N; it divides {width}: {possible})"
    )


def _vit_mode(tensors: Mapping[str, Tensor], width: int, tokens: int) -> vit_fiqa.Mode:
    if "qs_token" not in tensors:
        return "crfiqa"
    feature = tensors.get("feature.0.weight")
    # A score-only checkpoint has no `feature`, and only mode token can score without it.
    sees_all = feature is not None and feature.shape[-1] == tokens * width
    return "full" if sees_all else "token"


def _recognise_iresnet(tensors: Mapping[str, Tensor]) -> Architecture:
    one, two, three, four = (_count(tensors, rf"layer{stage}\.([0-9]+)\.") for stage in (1, 2, 3, 4))
    config = IResNetConfig((one, two, three, four), has_quality="qs.weight" in tensors)
    standard = {known.stages: name for name, known in iresnet.ARCHITECTURES.items()}
    name = standard.get(config.stages, f"iresnet_{one}-{two}-{three}-{four}")
    return Architecture(name, "crfiqa" if config.has_quality else "fr", config)


def _count(tensors: Mapping[str, Tensor], pattern: str) -> int:
    """One more than the highest index in names that begin with the pattern; 1 if there is none."""
    hits = (re.match(pattern, name) for name in tensors)
    numbers = [hit.group(1) for hit in hits if hit]
    if any(len(number) > _DIGITS for number in numbers):
        raise ValueError(f"has a tensor of a block with a number of more than {_DIGITS} digits")
    return 1 + max(map(int, numbers), default=0)
