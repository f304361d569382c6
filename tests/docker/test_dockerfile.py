"""The workers' image, as far as it can be checked without a Docker engine: it parses, its versions and files agree."""

import json
import re
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml
from dockerfile_parse import DockerfileParser
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from tests.packaging.project import pinned

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = ROOT / "docker" / "Dockerfile"


@pytest.fixture(scope="module")
def instructions() -> list[dict[str, str]]:
    return [i for i in DockerfileParser(str(DOCKERFILE)).structure if i["instruction"] != "COMMENT"]


@pytest.fixture(scope="module")
def pins() -> dict[str, str]:
    return pinned("constraints.txt")


def values(instructions, name: str) -> list[str]:
    return [i["value"] for i in instructions if i["instruction"] == name]


def test_hadolint_finds_nothing():
    hadolint = Path(sys.executable).with_name("hadolint")
    assert hadolint.is_file(), "pip install -e '.[test]'"
    found = subprocess.run([hadolint, DOCKERFILE], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr


def test_the_entry_point_is_beams_boot_program(instructions):
    (entry,) = values(instructions, "ENTRYPOINT")
    assert json.loads(entry) == ["/opt/apache/beam/boot"]
    assert not values(instructions, "CMD")
    (beam,) = [value for value in values(instructions, "COPY") if value.startswith("--from=")]
    assert beam.split()[1:] == ["/opt/apache/beam", "/opt/apache/beam"]


def test_python_and_beam_are_the_submitters(instructions, pins):
    (base,) = values(instructions, "FROM")
    python = re.fullmatch(r"python:(\d+\.\d+)-slim-bookworm", base)
    assert python is not None
    (beam,) = [value.split()[0] for value in values(instructions, "COPY") if value.startswith("--from=")]
    assert beam == f"--from=apache/beam_python{python[1]}_sdk:{pins['apache-beam']}"
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert SpecifierSet(wanted).contains(f"{python[1]}.0")


def test_every_pinned_version_is_one_that_setup_allows(pins):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["gcp"]]
    for requirement in map(Requirement, wanted):
        assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), requirement


def test_torch_is_installed_from_the_constraints_and_must_be_a_cuda_build(instructions):
    first, second, third = values(instructions, "RUN")
    assert "--constraint constraints.txt torch" in first
    assert "assert torch.version.cuda" in first
    assert '--constraint constraints.txt ".[${EXTRAS}]"' in second
    assert values(instructions, "ARG")[-1] == 'EXTRAS="gcp"'
    assert "pip check" in second
    assert "import pipelines.score_dataset" in third
    assert values(instructions, "WORKDIR") == ["/opt/fiqa", "/"]


def test_what_is_copied_exists_is_the_whole_package_and_is_not_ignored(instructions):
    sources = {
        source.rstrip("/")
        for value in values(instructions, "COPY")
        if not value.startswith("--from=")
        for source in value.split()[:-1]
    }
    for source in sources:
        assert (ROOT / source).exists(), source
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests", "benchmarks", "examples"}
    assert packages <= sources
    assert {"setup.py", "README.md", "constraints.txt", "pyproject.toml"} <= sources
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert rules[0] == "*"
    assert {rule[1:] for rule in rules if rule.startswith("!")} == sources
    assert not [rule for rule in rules[1:] if not rule.startswith("!") and any(fnmatch(s, rule) for s in sources)]


def test_cloud_build_builds_this_dockerfile_and_pushes_the_image():
    build = yaml.safe_load((ROOT / "docker" / "cloudbuild.yaml").read_text())
    (step,) = build["steps"]
    assert step["args"][:3] == ["build", "--file", "docker/Dockerfile"]
    assert build["images"] == ["${_IMAGE}"]
    assert "TORCH_INDEX_URL=${_TORCH_INDEX_URL}" in step["args"]
    assert set(re.findall(r"\$\{(_\w+)\}", json.dumps(build))) == set(build["substitutions"])
