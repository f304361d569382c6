"""What pyproject.toml declares, against the code, the pinned versions and what the messages say."""

import ast
import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.utils import canonicalize_name
from packaging.version import Version

from pipelines.cli import doctor
from schemas.versions import PACKAGE_VERSION
from tests.packaging.project import PACKAGES, ROOT, extras, extras_named, pinned, pyproject, requirements

# Their private parts are used: see pyproject.toml.
USED_INSIDE = {"apache-beam", "gcsfs", "s3fs", "fsspec"}
# Older Linux builds on the index need CUDA; see constraints-lowest.txt.
HIGHER_THAN_ITS_BOUND = {"torch"}
TEXT = {".py", ".md", ".sh", ".yaml", ""}  # suffixes


def code_files() -> list[Path]:
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def test_the_lowest_versions_are_exactly_those_that_are_declared():
    pins = pinned("constraints-lowest.txt")
    bounds = {}
    for requirement in requirements():
        for bound in requirement.specifier:
            if bound.operator in (">=", "=="):
                bounds[canonicalize_name(requirement.name)] = Version(bound.version)
    without_source = bounds.keys() - {"setuptools"}  # what builds the package is no part of it
    assert set(pins) == without_source
    for name, version in pins.items():
        if name not in HIGHER_THAN_ITS_BOUND:
            release = Version(version).release
            assert release[: len(bounds[name].release)] == bounds[name].release, name


def test_every_requirement_allows_the_version_that_was_tested():
    pins = pinned("constraints.txt")
    for requirement in requirements():
        assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), requirement


def test_the_next_version_of_a_package_whose_private_parts_are_used_is_not_allowed():
    pins = pinned("constraints.txt")
    bounded = {r.name: r.specifier for r in requirements() if len(r.specifier)}
    for name in USED_INSIDE:
        major, minor = Version(pins[name]).release[:2]
        assert not bounded[name].contains(f"{major}.{minor + 1}.0"), name


def test_every_import_is_of_a_declared_package():
    imported = set()
    for path in code_files():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                imported.add(node.module.partition(".")[0])
    foreign = imported - sys.stdlib_module_names - set(PACKAGES)
    assert {"torch", "yaml", "PIL", "cv2"} <= foreign
    declared = {canonicalize_name(requirement.name) for requirement in requirements()}
    installed = packages_distributions()
    undeclared = {
        module
        for module in foreign
        if not declared & {canonicalize_name(name) for name in installed.get(module, [module])}
    }
    assert not undeclared


def test_all_holds_every_extra_and_test_whatever_needs_no_cloud_or_cluster():
    everything = set(extras()) - {"all", "test"}
    for extra, expected in (("all", everything), ("test", everything - {"gcp", "dask"})):
        (composed,) = [needed.extras for needed in extras()[extra] if needed.name == "fiqa-pipelines"]
        assert composed == expected


@pytest.mark.parametrize("place", ["fiqa_core", "pipelines", "examples", "docs", "scripts", "docker"])
def test_messages_and_docs_name_extras_that_exist_by_a_command_that_works(place):
    files = [path for path in (ROOT / place).rglob("*") if path.is_file() and path.suffix in TEXT]
    texts = {path: path.read_text(encoding="utf-8") for path in files}
    assert texts
    for path, text in texts.items():
        assert set(extras_named(text)) <= set(extras()), path
        # The name is on no index, so pip would find nothing, or another's package.
        assert not re.search(r"fiqa-pipelines\[|install fiqa", text), path


def test_every_message_about_a_missing_package_is_of_one_helper():
    own = ROOT / "fiqa_core" / "extras.py"
    spelt = [path for path in code_files() if path != own and re.search(r"pip install -e", path.read_text("utf-8"))]
    assert not spelt
    assert sum("install_extra(" in path.read_text("utf-8") for path in code_files()) > 4


def test_doctor_looks_for_every_extra():
    assert set(doctor.EXTRAS) == set(extras()) - {"all", "test"}


def test_the_message_about_a_store_without_its_package_names_the_command_that_installs_it():
    # In a new interpreter: file systems that another test opened stay known to fsspec.
    code = (
        "import sys; sys.modules['huggingface_hub'] = None\n"
        "from fiqa_core import storage\n"
        "try: storage.stat('hf://datasets/faces/shard.tar')\n"
        "except storage.StorageError as error: print(error)"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert re.search(r"hf:// needs a package .*pip install -e '\.\[hf\]' \(in the project's folder\)", run.stdout)


def test_the_versions_of_python_that_ci_runs_are_those_that_are_declared():
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))["jobs"]
    run = [str(version) for job in jobs.values() for version in job["strategy"]["matrix"]["python"]]
    project = pyproject()["project"]
    declared = [name.rpartition(" ")[2] for name in project["classifiers"] if re.search(r":: 3\.\d+$", name)]
    assert run == declared
    assert project["requires-python"] == f">={declared[0]}"


def test_ci_runs_the_one_test_command():
    (job,) = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))["jobs"].values()
    commands = [step.get("run", "") for step in job["steps"]]
    assert commands[-1] == "bash scripts/test.sh"
    assert "scripts/test.sh" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "--constraint constraints.txt" in "".join(commands)


def test_the_citation_names_this_version_and_the_licence():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == PACKAGE_VERSION
    assert citation["license"] == pyproject()["project"]["license"]
