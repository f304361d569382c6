"""What an ONNX network is fed and asked for: facts that its file holds in part, or not at all."""

from dataclasses import dataclass
from typing import Literal

Layout = Literal["nchw", "nhwc"]
Color = Literal["rgb", "bgr"]
OutputKind = Literal["embedding", "quality"]


@dataclass(frozen=True)
class OnnxInput:
    """How pixels become the network's input, and which output is read.

    Attributes:
        layout: order of the input's axes; size: its side in pixels; color: what its first channel is.
        mean, std: the input is (x - mean) / std of pixels x from 0 to 255; one number, or one for each channel in
            the order of `color`.
        output: name of the output that is read; kind: what it is, an embedding or one quality an image.
        batch: images of one call where the network takes only that many, 0 where it takes any number.
    """

    layout: Layout
    size: int
    color: Color
    mean: tuple[float, ...]
    std: tuple[float, ...]
    output: str
    kind: OutputKind
    batch: int


@dataclass(frozen=True)
class OnnxOptions:
    """What the user says about an ONNX network; None is recognised from its file. Fields as of `OnnxInput`."""

    layout: Layout | None = None
    size: int | None = None
    color: Color = "rgb"
    mean: tuple[float, ...] = (127.5,)
    std: tuple[float, ...] = (127.5,)
    output: str | None = None
    kind: OutputKind = "embedding"
    batch: int | None = None
