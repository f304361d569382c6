"""A command's options are read before Beam and torch are imported, and tables are evaluated without either."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.fiqa import COMMANDS
from tests.pipelines.test_evaluate_quality import Faces

ROOT = Path(__file__).resolve().parents[2]
# Twice what was measured: the imports are what is tested, and a slow machine is no fault.
MOST_CPU_S = 2.0

SCRIPT = """
import json, sys, time
from pipelines.fiqa import main
code = main(sys.argv[1:])
heavy = [name for name in ("apache_beam", "torch") if name in sys.modules]
print(json.dumps({"code": code, "heavy": heavy, "cpu_s": time.process_time()}), file=sys.stderr)
"""


def run_cold(*words: str) -> dict[str, object]:
    """What a new process says after a command: its exit code, the heavy modules it imported, its CPU seconds."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *words], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True
    )
    return json.loads(done.stderr.splitlines()[-1])


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_imports_neither_beam_nor_torch(command):
    found = run_cold(command, "--help")
    assert found["code"] == 0
    assert found["heavy"] == []
    assert found["cpu_s"] < MOST_CPU_S


def test_a_bad_option_is_refused_without_beam_and_torch():
    found = run_cold("score", "--input", "x", "--output", "y", "--batch-size", "none")
    assert found["code"] == 2
    assert found["heavy"] == []


def test_tables_are_evaluated_without_beam_and_torch(tmp_path):
    faces = Faces(tmp_path)
    found = run_cold("evaluate", *faces.flags(tmp_path / "out", "--no-plots", "--random-seeds", "1"))
    assert found["code"] == 0
    assert found["heavy"] == []
    assert (tmp_path / "out" / "edc.parquet").exists()
