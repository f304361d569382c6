"""Any face recognition network as ONNX: recognise its input and output, check them, run it."""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from fiqa_core.images.resize import NETWORK_SIDE, to_network_size
from fiqa_core.networks.onnx_input import Layout, OnnxInput, OnnxOptions
from fiqa_core.networks.onnx_session import OnnxError, OnnxFile, open_session

_TYPES: dict[str, type[np.floating[Any]]] = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
# Difference between outputs of one image in different batches, as a share of the largest number: rounding.
_ROUNDING, _COARSE_ROUNDING = 1e-3, 2e-2
_PROBE = 2  # images: one alone would not reveal a network whose output has no batch axis


class OnnxNetwork:
    """A network on a device, checked by one call on black images.

    `input` describes its input; `dim` is the length of its output for one image; `tolerance` is the difference between
    two outputs of one image, as a share of its largest number, that rounding explains. Thread-safe.

    Raises:
        OnnxError: its file, input or output does not fit faces; raised before anything is scored.
        DeviceError: the device is not there.
    """

    def __init__(self, file: OnnxFile, options: OnnxOptions, device: str = "cpu", threads: int = 0) -> None:
        self.file = file
        self._session = open_session(file, device, threads)
        self._input, self._type = _only_input(file.uri, self._session.get_inputs())
        self.input = _recognise(file.uri, self._input.shape, self._session.get_outputs(), options)
        self._mean = np.asarray(self.input.mean, np.float32)
        self._std = np.asarray(self.input.std, np.float32)
        self.dim = self._probe()
        is_exact = device == "cpu" and self._type is np.float32
        self.tolerance = _ROUNDING if is_exact else _COARSE_ROUNDING

    def forward(self, pixels: np.ndarray) -> np.ndarray:
        """Outputs, float32 (B, dim), of uint8 RGB (B, 112, 112, 3), B at most `input.batch` if that is fixed.

        A batch that is too small for a network with a fixed one is filled with black images, whose outputs are
        dropped.
        """
        fed = self._prepared(pixels)
        lacking = max(self.input.batch - len(fed), 0)
        if lacking:
            fed = np.concatenate([fed, np.zeros((lacking, *fed.shape[1:]), fed.dtype)])
        (output,) = self._session.run([self.input.output], {self._input.name: fed})
        return np.asarray(output, np.float32).reshape(len(fed), -1)[: len(pixels)]

    def _prepared(self, pixels: np.ndarray) -> np.ndarray:
        side = self.input.size
        if side != NETWORK_SIDE:
            pixels = np.stack([to_network_size(image, side) for image in pixels])
        if self.input.color == "bgr":
            pixels = pixels[..., ::-1]
        values = pixels.astype(np.float32)
        values -= self._mean
        values /= self._std
        if self.input.layout == "nchw":
            values = values.transpose(0, 3, 1, 2)
        return np.ascontiguousarray(values, self._type)

    def _probe(self) -> int:
        images = self.input.batch or _PROBE
        uri, name, kind = self.file.uri, self.input.output, self.input.kind
        black = self._prepared(np.zeros((images, NETWORK_SIDE, NETWORK_SIDE, 3), np.uint8))
        try:
            (output,) = self._session.run([name], {self._input.name: black})
        except Exception as error:
            raise OnnxError(
                f"{uri}: does not run on {images} images as {self._input.name} {black.shape}: "
                f"{str(error)[:300]}. Check the --onnx- options (--onnx-batch 1 for a network that takes one image)."
            ) from error
        found = f"output {name!r} is {getattr(output, 'dtype', type(output).__name__)} {np.shape(output)}"
        if not isinstance(output, np.ndarray) or output.dtype.kind != "f":
            raise OnnxError(f"{uri}: {found}; expected floating point numbers. Name another with --onnx-output.")
        if output.ndim == 0 or output.shape[0] != images or output.size != images * max(output.shape[1:], default=1):
            raise OnnxError(
                f"{uri}: {found} for {images} images; expected ({images}, D): one vector an image. Name another "
                "output with --onnx-output."
            )
        dim = output.size // images
        if (dim == 1) != (kind == "quality"):
            meant = "a quality (--output-kind quality)" if dim == 1 else "an embedding (--output-kind embedding)"
            raise OnnxError(f"{uri}: {found}: {dim} numbers an image are {meant}, not {kind}")
        return dim


def _only_input(uri: str, inputs: Sequence[Any]) -> tuple[Any, type[np.floating[Any]]]:
    if len(inputs) != 1:
        raise OnnxError(f"{uri}: has {len(inputs)} inputs ({_listed(inputs)}); expected one, the images")
    only = inputs[0]
    if only.type not in _TYPES or len(only.shape) != 4:
        raise OnnxError(
            f"{uri}: its input is {_listed(inputs)}; expected images of {' or '.join(_TYPES)} with four axes, "
            "(B, 3, H, W) or (B, H, W, 3)"
        )
    return only, _TYPES[only.type]


def _recognise(uri: str, shape: Sequence[Any], outputs: Sequence[Any], options: OnnxOptions) -> OnnxInput:
    """Fill in open values from the input's shape, whose variable axes are names or None; refuse contradictions."""
    axes = [axis if isinstance(axis, int) and axis > 0 else 0 for axis in shape]
    shown = _shape(shape)
    layout = options.layout or _layout(uri, axes, shown)
    channels, sides = (axes[1], axes[2:]) if layout == "nchw" else (axes[3], axes[1:3])
    if channels not in (0, 3):
        raise OnnxError(f"{uri}: its input {shown} has {channels} channels as {layout}; expected 3")
    known = sorted(set(sides) - {0})
    if len(known) > 1:
        raise OnnxError(f"{uri}: its input {shown} is not square; aligned faces are")
    size = options.size or (known[0] if known else NETWORK_SIDE)
    if known and size != known[0]:
        raise OnnxError(f"{uri}: its input {shown} takes images of {known[0]} pixels, but --onnx-size is {size}")
    batch = options.batch or axes[0]
    if axes[0] and batch != axes[0]:
        raise OnnxError(f"{uri}: its input {shown} takes {axes[0]} images at a time, but --onnx-batch is {batch}")
    for option, numbers in (("mean", options.mean), ("std", options.std)):
        if len(numbers) not in (1, 3) or not np.isfinite(numbers).all() or (option == "std" and min(numbers) <= 0):
            raise OnnxError(f"--onnx-{option} {numbers}: expected one number or three, and a std above 0")
    output = _output(uri, outputs, options.output)
    return OnnxInput(layout, size, options.color, options.mean, options.std, output, options.kind, batch)


def _layout(uri: str, axes: list[int], shown: str) -> Layout:
    fits = [layout for layout, axis in (("nchw", 1), ("nhwc", 3)) if axes[axis] == 3]
    if len(fits) != 1:
        raise OnnxError(f"{uri}: its input {shown} does not say which axis is the colours'; give --onnx-layout")
    return cast(Layout, fits[0])


def _output(uri: str, outputs: Sequence[Any], wanted: str | None) -> str:
    names = [output.name for output in outputs]
    if wanted is None and len(names) == 1:
        return str(names[0])
    if wanted is None or wanted not in names:
        asked = "name one of them with --onnx-output" if wanted is None else f"--onnx-output {wanted!r} is not there"
        raise OnnxError(f"{uri}: has {len(names)} outputs ({_listed(outputs)}); {asked}")
    return wanted


def _listed(tensors: Sequence[Any]) -> str:
    return ", ".join(f"{tensor.name!r} {tensor.type} {_shape(tensor.shape)}" for tensor in tensors)


def _shape(shape: Sequence[Any]) -> str:
    return f"[{', '.join('?' if axis is None else str(axis) for axis in shape)}]"
