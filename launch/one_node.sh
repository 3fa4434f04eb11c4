#!/usr/bin/env bash
# One machine, one process per GPU: launch/one_node.sh +experiment=cxr scale=node8 data.path=FOLDER
# DRY_RUN=1 prints the command; NPROC_PER_NODE says how many processes (default: all GPUs); each rank's output is in
# LOG_DIR (default: logs/one_node).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

num_gpus() { nvidia-smi --list-gpus 2>/dev/null | wc -l; }
nproc_per_node=${NPROC_PER_NODE:-$(num_gpus)}
if [[ $nproc_per_node -lt 1 ]]; then
  echo "error: no GPU found; set NPROC_PER_NODE, or start launch/laptop.sh" >&2
  exit 2
fi
command=(
  "${PYTHON:-python}" -m torch.distributed.run --standalone --nproc-per-node "$nproc_per_node"
  --log-dir "${LOG_DIR:-logs/one_node}" --tee 3 train.py "$@"
)
if [[ ${DRY_RUN:-0} == 1 ]]; then
  printf '%q ' "${command[@]}"
  printf '\n'
  exit 0
fi
exec "${command[@]}"
