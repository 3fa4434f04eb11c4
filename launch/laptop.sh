#!/usr/bin/env bash
# The whole line on a laptop: train on the built-in phantom set, then evaluate.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python train.py +experiment=cxr scale=laptop
python evaluate.py +experiment=cxr
