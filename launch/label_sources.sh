#!/usr/bin/env bash
# What a PRM learns from each source of labels: the same phantom cases, labelled by the judge alone, by Monte Carlo alone, by
# both before and after the experts, who see the disputed steps or those of the highest expected value; three seeds each.
# More than an hour on two cores. Figures: docs/annotation.md.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python="${PYTHON:-python}"
cases="${CASES:-160}"

# All planned rollouts are run: labels=value needs them.
annotate() { # settings
    "$python" annotate.py +experiment=cxr max_cases="$cases" monte_carlo.stopping=fixed "$@"
}
[ -f outputs/sources_labels/labelled.jsonl ] || annotate run_name=sources overwrite=true
if [ ! -f outputs/sources_ranked_labels/finished ]; then
    rm -rf outputs/sources_ranked_labels
    cp -r outputs/sources_labels outputs/sources_ranked_labels # the machines' verdicts are there: nothing is drawn again
    annotate run_name=sources_ranked resume=true expert.steps=ranked
    touch outputs/sources_ranked_labels/finished
fi

train() { # name, file of labels in outputs/, settings
    local name="$1" file="$2"
    shift 2
    for seed in 0 1 2; do
        [ -f "outputs/sources_${name}_$seed/evaluation/metrics.json" ] && continue
        "$python" train.py +experiment=cxr run_name="sources_${name}_$seed" seed="$seed" num_threads=1 overwrite=true \
            labelled.path="outputs/$file" labelled.only=true training.num_train_epochs=5 "$@"
        "$python" evaluate.py +experiment=cxr run_name="sources_${name}_$seed" num_threads=1
    done
}
# Two at a time.
(train judge sources_labels/labelled.jsonl labels=judge; train value sources_labels/labelled.jsonl labels=value
 train hybrid_ranked sources_ranked_labels/labelled.jsonl) &
(train hybrid_before sources_labels/machine.jsonl; train hybrid_after sources_labels/labelled.jsonl)
wait

groups=()
for name in hybrid_ranked hybrid_after hybrid_before judge value; do
    groups+=("$name=outputs/sources_${name}_0,outputs/sources_${name}_1,outputs/sources_${name}_2")
done
# The first of each line is what the others are compared with: the last one has the machines among each other.
"$python" -m medprm.commands.compare_groups "${groups[@]}" --json outputs/label_sources.json
"$python" -m medprm.commands.compare_groups "${groups[@]:1}" --json outputs/label_sources_disputed.json
"$python" -m medprm.commands.compare_groups "${groups[@]:2}" --json outputs/label_sources_machines.json
"$python" -m medprm.commands.compare_groups "${groups[@]:3}" --json outputs/label_sources_single.json
