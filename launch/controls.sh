#!/usr/bin/env bash
# Does the PRM look and read? One run as usual, one control run trained without each input, inputs swapped between
# patients at scoring. About half an hour on two CPU cores. Further arguments go to every command (seed=1, ...).
set -euo pipefail
cd "$(dirname "$0")/.."
run=outputs/controls
common=("+experiment=cxr" overwrite=true "$@")

python train.py "${common[@]}" run_name=controls
python evaluate.py "${common[@]}" run_name=controls
for input in images context documents; do
  python evaluate.py "${common[@]}" run_name=controls permute=$input
  python train.py "${common[@]}" run_name=controls_$input "encoding.blank=[$input]"
  python evaluate.py "${common[@]}" run_name=controls_$input
done
truth=$(ls -td outputs/phantom-*/truth.jsonl | head -1)
python -m medprm.commands.controls $run --truth "$truth" --json $run/controls.json \
  --blank images=${run}_images --blank context=${run}_context --blank documents=${run}_documents
