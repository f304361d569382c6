"""Weights to start a convolutional stem from: those of a MobileFaceNet in ONNX, whose BatchNorms are folded."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from fiqa_core.extras import install_extra
from fiqa_core.networks.conv_stem import ConvPReLU, ConvStem, InvertedResidual
from fiqa_core.networks.onnx_file import OnnxError, read_onnx

_INPUT_SCALE = 127.5 / 128  # MobileFaceNet is fed (pixel - 127.5) / 128, the stem (pixel - 127.5) / 127.5


@dataclass
class _Layer:
    """A convolution of the file: weight (O, I, k, k), bias (O,), and the slopes (O,) of a PReLU after it."""

    weight: Tensor
    bias: Tensor
    slope: Tensor | None = None


def start_from(stem: ConvStem, uri: str) -> None:
    """Fill a stem, all but its `proj`, from an ONNX file at any URI.

    Raises:
        OnnxError: the package onnx is missing, the file cannot be read, or its layers are not MobileFaceNet's.
    """
    found = _layers(uri)
    places = list(_places(stem))
    if len(found) <= len(places):
        raise OnnxError(f"{uri}: has {len(found)} convolutions; a MobileFaceNet has more than {len(places)}")
    # The third convolution has no activation and the fourth is 1x1 like it: the stem has both as one.
    layers = [*found[:2], _joined(uri, found[2], found[3]), *found[4:]]
    with torch.no_grad():
        for number, ((conv, act), layer) in enumerate(zip(places, layers, strict=False), start=1):
            if layer.weight.shape != conv.weight.shape or (layer.slope is None) != (act is None):
                raise OnnxError(
                    f"{uri}: convolution {number} is {tuple(layer.weight.shape)}"
                    f"{'' if layer.slope is None else ' with PReLU'}; MobileFaceNet has {tuple(conv.weight.shape)}"
                    f"{'' if act is None else ' with PReLU'} there"
                )
            conv.weight.copy_(layer.weight.flip(2, 3))
            _bias(conv).copy_(layer.bias)
            if act is not None and layer.slope is not None:
                act.weight.copy_(layer.slope)
        places[0][0].weight.mul_(_INPUT_SCALE)


def _bias(conv: nn.Conv2d) -> Tensor:
    """The bias of a convolution that has one."""
    if conv.bias is None:
        raise TypeError("a convolution of the stem has no bias")
    return conv.bias


def _places(stem: ConvStem) -> Iterator[tuple[nn.Conv2d, nn.PReLU | None]]:
    """The stem's convolutions in the order in which they are computed, each with its activation."""
    for module in stem.stem:
        if isinstance(module, ConvPReLU):
            yield module.conv, module.act
        elif isinstance(module, InvertedResidual):
            yield module.widen.conv, module.widen.act
            yield module.filter.conv, module.filter.act
            yield module.narrow, None


def _joined(uri: str, first: _Layer, second: _Layer) -> _Layer:
    """Two 1x1 convolutions, the first without activation, as one."""
    if first.slope is not None or first.weight.shape[2:] != (1, 1) or second.weight.shape[2:] != (1, 1):
        raise OnnxError(f"{uri}: its third convolution is not MobileFaceNet's (1x1, without activation)")
    inner, outer = first.weight.flatten(1).double(), second.weight.flatten(1).double()
    weight, bias = outer @ inner, outer @ first.bias.double() + second.bias.double()
    return _Layer(weight.float()[:, :, None, None], bias.float(), second.slope)


def _layers(uri: str) -> list[_Layer]:
    """The convolutions of the file in the order of its graph.

    PReLU is a node of its own, or as TensorFlow's converter writes it: relu(x) + (x - |x|) * slope / 2.
    """
    try:
        import onnx
        from onnx import numpy_helper
    except ImportError as error:
        raise OnnxError(f"weights to start from need the package onnx ({error}): {install_extra('train')}") from error
    graph = onnx.load_model_from_string(read_onnx(uri).data).graph
    numbers = {tensor.name: tensor for tensor in graph.initializer}
    layers: list[_Layer] = []

    def tensor(name: str) -> Tensor:
        return torch.from_numpy(np.array(numpy_helper.to_array(numbers[name]), np.float32))

    for node in graph.node:
        constants = [name for name in node.input if name in numbers]
        if node.op_type == "Conv" and constants:
            weight = tensor(constants[0])
            layers.append(_Layer(weight, tensor(constants[1]) if len(constants) > 1 else torch.zeros(len(weight))))
        elif layers and node.op_type in ("PRelu", "Mul") and len(constants) == 1:
            slope = tensor(constants[0]).flatten() * (2 if node.op_type == "Mul" else 1)
            if len(slope) == len(layers[-1].bias):
                layers[-1].slope = slope
    return layers
