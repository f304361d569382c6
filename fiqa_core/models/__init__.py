"""The network that comes with this package, so that a first run shows real scores; see vit_hybrid_lfw.md beside it."""

from importlib import resources

EMBEDDED = "embedded:vit_hybrid_lfw"
# What that network's scores mean (`fiqa calibrate`): on LFW's test split, and on its copy of mixed quality.
EMBEDDED_CALIBRATIONS = {
    "embedded": "vit_hybrid_lfw.lfw_test.json",
    "embedded-mixed": "vit_hybrid_lfw.lfw_test_mixed.json",
}
_FILE = "vit_hybrid_lfw.safetensors"

NOTICE = """no --model: scoring with the small network that comes with this package (vit_hybrid_lfw).
It is for demonstration and tests: trained on a few thousand LFW images, research use. For production give your own
weights (fiqa train), or the official ones: ViT-FIQA (ICCV Workshops 2025, arXiv 2508.13957) links them from
the authors' repository; their licence is CC BY-NC 4.0: research, no commercial use. CR-FIQA weights (iresnet50,
iresnet100) load too, under the same kind of licence."""


def read_embedded() -> bytes:
    """The bytes of the network's safetensors file.

    Raises:
        FileNotFoundError: this installation has none; the message says what to do.
    """
    return _read(_FILE, "the network", "--model")


def read_embedded_calibration(name: str) -> bytes:
    """The bytes of a calibration of that network, by its name in `EMBEDDED_CALIBRATIONS`.

    Raises:
        FileNotFoundError: this installation has none; the message says what to do.
    """
    return _read(EMBEDDED_CALIBRATIONS[name], "the calibration", "a file as --calibration")


def _read(name: str, what: str, instead: str) -> bytes:
    file = resources.files(__name__) / name
    if not file.is_file():
        raise FileNotFoundError(
            f"{file}: {what} of this package is missing in this installation; install the package again, or give "
            f"{instead}"
        )
    return file.read_bytes()
