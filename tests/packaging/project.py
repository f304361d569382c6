"""What pyproject.toml and the files of pinned versions say."""

import re
import shutil
import tomllib
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("fiqa_core", "schemas", "transforms", "pipelines")


def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def extras() -> dict[str, list[Requirement]]:
    declared = pyproject()["project"]["optional-dependencies"]
    return {extra: [Requirement(text) for text in texts] for extra, texts in declared.items()}


def requirements() -> list[Requirement]:
    """All that the package and its extras need, without the extras' references to each other."""
    base = [Requirement(text) for text in pyproject()["project"]["dependencies"]]
    every = base + [requirement for needed in extras().values() for requirement in needed]
    return [requirement for requirement in every if requirement.name != "fiqa-pipelines"]


def pinned(name: str) -> dict[str, str]:
    """Versions of a constraints file by canonical package name, as they are for this Python."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    here = [pin for pin in pins if pin.marker is None or pin.marker.evaluate()]
    return {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in here}


def project_of_a_fresh_clone(folder: Path) -> Path:
    """The files that a build needs, copied, so that nothing built lies in the working tree."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def extras_named(text: str) -> list[str]:
    """Extras in a text's `install_extra("x")` and `pip install -e '.[x,y]'`."""
    calls = re.findall(r"""install_extra\(["'](\w+)["']\)""", text)
    commands = re.findall(r"\.\[([\w,]+)\]['\"]", text)
    return calls + [extra for command in commands for extra in command.split(",")]
