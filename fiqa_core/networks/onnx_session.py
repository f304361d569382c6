"""An ONNX file on a device, by onnxruntime (extra `onnx`)."""

import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

from fiqa_core.devices import DeviceError, TorchGpus, worker_device
from fiqa_core.extras import install_extra
from fiqa_core.networks.onnx_file import OnnxError, OnnxFile, read_onnx, write_for_opening
from fiqa_core.wording import first_line

__all__ = ["OnnxError", "OnnxFile", "onnx_device", "onnxruntime", "open_session", "read_onnx"]

_CUDA = "CUDAExecutionProvider"
_CPU = "CPUExecutionProvider"
_ERRORS_ONLY = 3


def onnxruntime() -> ModuleType:
    """The module; OnnxError names the extra that installs it."""
    try:
        import onnxruntime as module
    except ImportError as error:
        raise OnnxError(
            f"an ONNX network needs onnxruntime ({error}): {install_extra('onnx')}, or onnxruntime-gpu "
            "on a machine with a GPU"
        ) from error
    return module  # type: ignore[no-any-return]


def onnx_device(name: str) -> str:
    """`cpu`, `cuda` or `cuda:N` for the requested device; `auto` is `cuda` if onnxruntime can use one.

    Raises:
        DeviceError: a GPU was requested and this onnxruntime cannot use one (it never runs on a CPU instead).
    """
    module = onnxruntime()
    providers = module.get_available_providers()
    if name == "auto":
        # A GPU build on a machine without GPU: onnxruntime notices only when it opens a model.
        name = "cuda" if _CUDA in providers and TorchGpus().count() else "cpu"
    kind, _, number = name.partition(":")
    if name != "cpu" and (kind != "cuda" or (number and not number.isdecimal())):
        raise DeviceError(f"device {name!r} is not known; expected auto, cpu, cuda or cuda:N")
    if kind == "cuda" and _CUDA not in providers:
        raise DeviceError(
            f"device {name!r} was asked for, but onnxruntime {module.__version__} has no {_CUDA} here (it has "
            f"{', '.join(providers)}). Install onnxruntime-gpu in its place, or run with --device cpu."
        )
    return name


def open_session(file: OnnxFile, device: str, threads: int = 0) -> Any:
    """An `onnxruntime.InferenceSession` of the model on the device (as of `onnx_device`).

    `threads`: CPU threads of one call, 0 = onnxruntime's own choice. `cuda` is the GPU that the fewest other worker
    processes use.

    Raises:
        OnnxError: onnxruntime cannot run the model.
        DeviceError: the GPU could not be used.
    """
    module = onnxruntime()
    device = onnx_device(device)
    options = module.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    options.intra_op_num_threads = threads
    providers: list[Any] = [_CPU]
    if device != "cpu":
        if device == "cuda":
            device = worker_device(device) if TorchGpus().count() > 1 else "cuda:0"
        providers = [(_CUDA, {"device_id": int(device.partition(":")[2])}), _CPU]
    # For messages before a session has its own options.
    module.set_default_logger_severity(_ERRORS_ONLY)
    try:
        session = _session(module, file, options, providers)
    except Exception as error:
        raise OnnxError(
            f"{file.uri}: onnxruntime {module.__version__} cannot open it: {first_line(error)}. Expected an ONNX "
            "model with all of its weights."
        ) from error
    if device != "cpu" and _CUDA not in session.get_providers():
        # onnxruntime falls back to the CPU if CUDA's libraries or the GPU are missing.
        raise DeviceError(
            f"device {device!r} was asked for, but onnxruntime could not use it (its log says why). Check the driver "
            "and the CUDA and cuDNN libraries, or run with --device cpu."
        )
    return session


def _session(module: ModuleType, file: OnnxFile, options: Any, providers: list[Any]) -> Any:
    if not file.beside:
        return module.InferenceSession(file.data, options, providers=providers)
    # A temporary folder: given bytes, onnxruntime would search the weights in the current folder. Mapped memory stays
    # valid when the files are removed.
    with tempfile.TemporaryDirectory(prefix="fiqa-onnx-") as folder:
        return module.InferenceSession(str(write_for_opening(file, Path(folder))), options, providers=providers)
