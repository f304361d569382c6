"""The network that comes with this package, so that a first run shows real scores; see vit_nano_lfw.md beside it."""

from importlib import resources

EMBEDDED = "embedded:vit_nano_lfw"
_FILE = "vit_nano_lfw.safetensors"

NOTICE = """no --model: scoring with the small network that comes with this package (vit_nano_lfw).
It is for demonstration and tests: trained on a few thousand LFW images, research use. For production give your own
weights (pipelines.train_fiqa), or the official ones: ViT-FIQA (ICCV Workshops 2025, arXiv 2508.13957) links them from
the authors' repository; their licence is CC BY-NC 4.0: research, no commercial use. CR-FIQA weights (iresnet50,
iresnet100) load too, under the same kind of licence."""


def read_embedded() -> bytes:
    """The bytes of the network's safetensors file.

    Raises:
        FileNotFoundError: this installation has none; the message says what to do.
    """
    file = resources.files(__name__) / _FILE
    if not file.is_file():
        raise FileNotFoundError(
            f"{file}: the network of this package is missing in this installation; install the package again, or give "
            "--model"
        )
    return file.read_bytes()
