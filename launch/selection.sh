#!/usr/bin/env bash
# A tenth of the phantom's training solutions, chosen by informativeness (selection=bis) and at random; three seeds each,
# on the hybrid labels (LABELS="hybrid value": also on those of Monte Carlo alone). Further arguments go to every training.
# Figures: docs/data_quality.md. About ten minutes on two quiet cores, the two choices beside each other.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python="${PYTHON:-python}"
# Eight test candidates a case for the thirty-two: scoring would take longer than training.
phantom=("+experiment=cxr" data.phantom.num_test_candidates=8 data.phantom.num_validation_candidates=8 num_threads=1)

run() { # labels, kind, seed, settings
  local name="selection_$1_$2_$3"
  [ -f "outputs/$name/evaluation/metrics.json" ] && return
  "$python" train.py "${phantom[@]}" run_name="$name" seed="$3" overwrite=true labels="$1" selection="$2" \
    selection.share="${SHARE:-0.1}" training.num_train_epochs="${EPOCHS:-2.5}" training.eval_strategy=no "${@:4}"
  "$python" evaluate.py "${phantom[@]}" run_name="$name" overwrite=true
}

for labels in ${LABELS:-hybrid}; do
  for seed in 0 1 2; do
    run "$labels" random "$seed" "$@" &
    run "$labels" bis "$seed" "$@"
    wait $!
  done
  groups=()
  for kind in random bis; do
    groups+=("$kind=$(printf "outputs/selection_${labels}_${kind}_%s," 0 1 2 | sed 's/,$//')")
  done
  "$python" -m medprm.commands.compare_groups "${groups[@]}" --json "outputs/selection_$labels.json"
done
