"""How to install what is optional. The package is on no index, so the command is for a clone of the project."""


def install_extra(extra: str = "") -> str:
    """The command that installs an extra of pyproject.toml (with "": what every command needs), and where to run it."""
    what = f"'.[{extra}]'" if extra else "."
    return f"pip install -e {what} (in the project's folder)"
