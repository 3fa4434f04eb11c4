#!/usr/bin/env bash
# A tenth of the phantom's training solutions, chosen by informativeness (selection=bis) and at random; three seeds each,
# with the hybrid labels and with those of Monte Carlo alone. Further arguments go to every training. Figures:
# docs/data_quality.md. About half an hour on two quiet cores.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python="${PYTHON:-python}"
share="${SHARE:-0.1}"
# Eight test candidates a case for the thirty-two: scoring would take longer than training.
phantom=("+experiment=cxr" data.phantom.num_test_candidates=8 data.phantom.num_validation_candidates=8 num_threads=1)

for labels in ${LABELS:-hybrid value}; do
  groups=()
  for kind in random bis; do
    runs=()
    for seed in 0 1 2; do
      run="selection_${labels}_${kind}_$seed"
      runs+=("outputs/$run")
      [ -f "outputs/$run/evaluation/metrics.json" ] && continue
      "$python" train.py "${phantom[@]}" run_name="$run" seed="$seed" overwrite=true labels="$labels" \
        selection="$kind" selection.share="$share" training.num_train_epochs="${EPOCHS:-5}" training.eval_strategy=no "$@"
      "$python" evaluate.py "${phantom[@]}" run_name="$run" overwrite=true
    done
    groups+=("$kind=$(IFS=,; echo "${runs[*]}")")
  done
  "$python" -m medprm.commands.compare_groups "${groups[@]}" --json "outputs/selection_$labels.json"
done
