"""What is built from the project, as pip and Beam build it."""

import runpy
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import setuptools

from schemas.versions import PACKAGE_VERSION
from tests.packaging.project import PACKAGES, ROOT, project_of_a_fresh_clone


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> zipfile.ZipFile:
    """The wheel of the archive that `python setup.py sdist` makes."""
    folder = tmp_path_factory.mktemp("built")
    project = project_of_a_fresh_clone(folder / "project")
    subprocess.run([sys.executable, "setup.py", "-q", "sdist", "--dist-dir", folder], cwd=project, check=True)
    (archive,) = folder.glob("*.tar.gz")
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--wheel-dir", folder]
    subprocess.run([*build, archive], check=True)
    (built,) = folder.glob("*.whl")
    return zipfile.ZipFile(built)


def metadata(wheel: zipfile.ZipFile, name: str) -> str:
    (path,) = [path for path in wheel.namelist() if path.endswith(f".dist-info/{name}")]
    return wheel.read(path).decode()


def test_a_wheel_from_the_archive_holds_every_file_of_the_packages_and_nothing_else(wheel):
    expected = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    found = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert found == expected, "data files are named in [tool.setuptools.package-data] of pyproject.toml"
    assert {f"{package}/py.typed" for package in PACKAGES} <= found
    assert any(name.endswith(".safetensors") for name in found)


def test_the_version_is_the_one_of_schemas(wheel):
    assert f"\nVersion: {PACKAGE_VERSION}\n" in metadata(wheel, "METADATA")


def test_the_wheel_says_its_licence_and_brings_the_text(wheel):
    assert "\nLicense-Expression: Apache-2.0\n" in metadata(wheel, "METADATA")
    assert metadata(wheel, "licenses/LICENSE") == (ROOT / "LICENSE").read_text(encoding="utf-8")


def test_the_wheel_brings_the_command_fiqa(wheel):
    assert "fiqa = pipelines.fiqa:main" in metadata(wheel, "entry_points.txt")


def test_setup_py_with_old_setuptools_says_what_to_install(monkeypatch):
    monkeypatch.setattr(setuptools, "__version__", "65.5.1")
    monkeypatch.setattr(setuptools, "setup", lambda: pytest.fail("it was called"))
    with pytest.raises(SystemExit, match=r"65\.5\.1 is too old.*pip install 'setuptools>=77'"):
        runpy.run_path(str(Path(ROOT / "setup.py")))
