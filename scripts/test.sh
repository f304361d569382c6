#!/usr/bin/env bash
# All checks on a fresh machine: environment, lint, layers, types, tests. Needs Python 3.11 and a package index.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${FIQA_VENV:-.venv}
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --constraint constraints.txt torch
"$venv/bin/pip" install --quiet --constraint constraints.txt --editable ".[test,gcp,dask]"
"$venv/bin/ruff" check .
"$venv/bin/ruff" format --check .
"$venv/bin/lint-imports" --no-cache
"$venv/bin/mypy"
# Two at a time: many tests wait for processes and servers. A file stays on one worker, for its fixtures. One thread each:
# threads that share a core wait for each other most of the time.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
"$venv/bin/python" -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder "$@"
