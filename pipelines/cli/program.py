"""What the commands are called in this process, for usage lines, errors and the next step they propose.

A command is called as `fiqa NAME` or as `python -m pipelines.MODULE`, and its messages say the one that was used.
"""

import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import MappingProxyType

_names: ContextVar[Mapping[str, str]] = ContextVar("names", default=MappingProxyType({}))


@contextmanager
def called_by(names: Mapping[str, str]) -> Iterator[None]:
    """Within this block, modules in `names` are called by their value, such as `fiqa score`."""
    token = _names.set(names)
    try:
        yield
    finally:
        _names.reset(token)


def called(command: str) -> str:
    """The command as its user calls it; `command` is the name of its module in `pipelines`."""
    return _names.get().get(command, f"python -m pipelines.{command}")


def called_commands() -> Mapping[str, str]:
    """What the user calls the commands, by the names of their modules; empty where each is called by its module."""
    return _names.get()


def runnable(command: str) -> str:
    """The command as it runs in the user's shell, wherever this interpreter is."""
    name = called(command)
    if name.startswith("python "):
        return python() + name.removeprefix("python")
    program, _, rest = name.partition(" ")
    return f"{_beside_interpreter(program)} {rest}"


def python() -> str:
    """What starts this interpreter in the user's shell: `python` where that is the one, else its path."""
    return _beside_interpreter("python", Path(sys.executable))


def _beside_interpreter(program: str, default: Path | None = None) -> str:
    """The program's name where the shell finds the one of this environment by it, else its path."""
    folder = Path(sys.executable).absolute().parent
    found = shutil.which(program)
    if found is not None and Path(found).absolute().parent == folder:
        return program
    path = (default or folder / program).absolute()
    here = Path.cwd()
    return shlex.quote(str(path.relative_to(here) if path.is_relative_to(here) else path))
