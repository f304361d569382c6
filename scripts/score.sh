#!/usr/bin/env bash
# Set up an environment and run fiqa score with the arguments given:  scripts/score.sh --input ... --output ...
set -euo pipefail
here="$(cd "$(dirname "$0")/.." && pwd)"
venv=${FIQA_VENV:-$here/.venv}
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --constraint "$here/constraints.txt" torch
"$venv/bin/pip" install --quiet --constraint "$here/constraints.txt" --editable "$here"
exec "$venv/bin/python" -m pipelines.score_dataset "$@"
