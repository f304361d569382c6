#!/usr/bin/env bash
# From a clone to scores: make a small set of faces, score it with the package's own network, show the table.
#   scripts/demo.sh [FOLDER]        (default: demo)
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${1:-demo}
venv=${FIQA_VENV:-.venv}
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
"$venv/bin/python" -c "import skimage, torch, apache_beam" 2>/dev/null || {
  "$venv/bin/pip" install --quiet --constraint constraints.txt torch
  "$venv/bin/pip" install --quiet --constraint constraints.txt --editable ".[examples]"
}
"$venv/bin/python" -m examples.make_faces --output "$folder/faces.tar"
"$venv/bin/fiqa" score --input "$folder/faces.tar" --output "$folder/out" --overwrite
"$venv/bin/python" -m examples.show_ladder --table "$folder/out/quality"
