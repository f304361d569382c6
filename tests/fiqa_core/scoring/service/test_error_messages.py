"""An error of the scoring process comes back as what it is: one of ours, one of the system, or a bug."""

import pytest

from fiqa_core.devices import DeviceError
from fiqa_core.errors import FiqaError
from fiqa_core.networks.checkpoint_files import CheckpointError
from fiqa_core.networks.onnx_file import OnnxError
from fiqa_core.scoring.service.errors import from_message, to_message
from fiqa_core.storage import StorageError


@pytest.mark.parametrize(
    "error", [DeviceError("no GPU"), CheckpointError("m.pt: damaged"), StorageError("gs://b: refused"), OSError("disk")]
)
def test_an_error_that_a_command_knows_keeps_its_class(error):
    back = from_message(to_message(error))
    assert type(back) is type(error)
    assert str(back) == str(error)


@pytest.mark.parametrize("error", [KeyError("score"), ValueError("3 is not in list"), AssertionError("shape")])
def test_a_bug_stays_a_bug(error):
    back = from_message(to_message(error))
    assert type(back) is type(error)
    assert not isinstance(back, FiqaError)


def test_any_other_error_is_named_in_one_of_ours():
    back = from_message(to_message(OnnxError("m.onnx: damaged")))
    assert isinstance(back, FiqaError)
    assert str(back) == "OnnxError: m.onnx: damaged"
