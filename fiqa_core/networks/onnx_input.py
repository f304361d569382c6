"""The input that an ONNX network expects, and the output to read: facts that its file has in part or not at all."""

from dataclasses import dataclass
from typing import Literal

Layout = Literal["nchw", "nhwc"]
Color = Literal["rgb", "bgr"]
OutputKind = Literal["embedding", "quality", "norm"]


@dataclass(frozen=True)
class OnnxInput:
    """How pixels become the network's input, and which output is read.

    Attributes:
        layout: order of the input's axes; size: its side in pixels; color: rgb or bgr, by its first channel.
        mean, std: the input is (x - mean) / std of pixels x from 0 to 255; one number, or one for each channel in
            the order of `color`.
        output: name of the output to read; kind: an embedding, one quality per image, or `norm`: an
            embedding whose length is the quality.
        batch: images per call if the network takes only this number, 0 if it takes any number.
    """

    layout: Layout
    size: int
    color: Color
    mean: tuple[float, ...]
    std: tuple[float, ...]
    output: str
    kind: OutputKind
    batch: int

    @property
    def is_quality(self) -> bool:
        """Whether a quality is read, and not an embedding."""
        return self.kind != "embedding"


@dataclass(frozen=True)
class OnnxOptions:
    """The user's options for an ONNX network; None: recognised from its file. Fields as in `OnnxInput`."""

    layout: Layout | None = None
    size: int | None = None
    color: Color = "rgb"
    mean: tuple[float, ...] = (127.5,)
    std: tuple[float, ...] = (127.5,)
    output: str | None = None
    kind: OutputKind = "embedding"
    batch: int | None = None
