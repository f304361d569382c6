#!/usr/bin/env bash
# The tests with the lowest versions that pyproject.toml allows, in an environment of its own. Needs Python 3.11.
# When a lower bound changes, change constraints-lowest.txt with it (tests/packaging compares them) and run this once.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${FIQA_LOWEST_VENV:-.venv-lowest}
[ -x "$venv/bin/python" ] || python3.11 -m venv "$venv"
"$venv/bin/pip" install --quiet --constraint constraints-lowest.txt torch
"$venv/bin/pip" install --quiet --constraint constraints-lowest.txt --editable ".[test,gcp,dask]"
"$venv/bin/pip" check
"$venv/bin/python" -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder "$@"
