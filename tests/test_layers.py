"""Imports run one way: `.importlinter` draws the layers, and an import that runs up is found."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("pipelines", "transforms", "fiqa_core", "schemas")


def check(folder: Path) -> subprocess.CompletedProcess[str]:
    """The layer check of scripts/test.sh, on the packages in a folder."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    environment = {**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "300"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def copied(tmp_path):
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__", "*.saf*"))
    shutil.copy(ROOT / ".importlinter", tmp_path)
    return tmp_path


def test_every_import_runs_down():
    result = check(ROOT)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("schemas/versions.py", "from fiqa_core import wording", "over schemas BROKEN"),
        ("fiqa_core/wording.py", "import transforms.score", "over schemas BROKEN"),
        ("fiqa_core/tables/row_batches.py", "import apache_beam", "knows Apache Beam BROKEN"),
        ("fiqa_core/storage/places.py", "from fiqa_core.images import phash", "only rooms below it BROKEN"),
        ("fiqa_core/evaluation/keys.py", "from fiqa_core.curation import csv_cells", "only rooms below it BROKEN"),
        ("fiqa_core/evaluation/errors.py", "from fiqa_core.evaluation import edc", "No circle, in any folder BROKEN"),
    ],
)
def test_an_import_that_runs_up_or_in_a_circle_is_found(copied, module, line, contract):
    with (copied / module).open("a") as stream:
        stream.write(f"\n{line}\n")
    result = check(copied)
    assert result.returncode == 1
    assert contract in " ".join(result.stdout.split())
