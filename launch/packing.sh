#!/usr/bin/env bash
# What packing changes on the phantom: trained by padded batches and by trees, as many solutions a step, the same seeds and
# steps; seconds of the whole of train.py (both choose the threshold at its end, scoring by trees), and the metrics of the
# test split with intervals. Further arguments go to every training; PHANTOM="data.phantom.seed=1 ..." to every command.
# Figures: docs/performance.md. About ten minutes a seed on a quiet core.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python="${PYTHON:-python}"
read -ra phantom <<<"+experiment=cxr num_threads=1 ${PHANTOM:-}"
mkdir -p outputs

run() { # kind, seed, settings
  local name="packing_$1_$2"
  [ -f "outputs/$name/evaluation/metrics.json" ] && return
  TIMEFORMAT="$name: %R s, %U s of CPU"
  { time "$python" train.py "${phantom[@]}" run_name="$name" seed="$2" overwrite=true packing.kind="$1" \
      training.max_steps="${STEPS:-2400}" training.eval_strategy=no "${@:3}" 2>&3; } 3>&2 2>"outputs/$name.seconds"
  "$python" evaluate.py "${phantom[@]}" run_name="$name"
}

for seed in ${SEEDS:-0 1 2}; do
  # A row of the laptop's scale holds about eight solutions, two of each of four cases.
  run tree "$seed" "$@"
  run none "$seed" training.per_device_train_batch_size=8 packing.max_tree_solutions=null "$@"
done
groups=() runs=()
for kind in tree none; do
  of_kind=()
  for seed in ${SEEDS:-0 1 2}; do of_kind+=("outputs/packing_${kind}_$seed"); done
  runs+=("${of_kind[@]}")
  groups+=("$kind=$(IFS=, && echo "${of_kind[*]}")")
done
cat "${runs[@]/%/.seconds}"
grep -H '"num_rows"' "${runs[@]/%//run.json}"
"$python" -m medprm.commands.compare_groups "${groups[@]}" --json outputs/packing.json
"$python" -m medprm.commands.compare "${runs[@]}" --html outputs/packing.html
