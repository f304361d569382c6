"""What Dataflow's --setup_file takes: Beam calls `python setup.py sdist`. The package is described in pyproject.toml.

Beam runs this with the setuptools of the environment that submits the job, not with the one pyproject.toml asks for.
"""

import setuptools

_NEEDED = 77  # the first that reads pyproject.toml as it is written here

if int(setuptools.__version__.partition(".")[0]) < _NEEDED:
    raise SystemExit(
        f"setup.py: setuptools {setuptools.__version__} is too old to read pyproject.toml; {_NEEDED} is needed: "
        f"pip install 'setuptools>={_NEEDED}'"
    )

setuptools.setup()
