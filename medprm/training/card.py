"""The model card of a trained PRM: README.md beside its weights.

In: what `medprm.json` says, the name of the data, the counts of the training set. Out: Markdown with the header that
model hubs read. No text, id or path of a case enters.
"""

from collections.abc import Mapping
from typing import Any

from medprm.training.dataset import DatasetCounts

CARD_FILE = "README.md"


def model_card(prm: Mapping[str, Any], data_name: str, counts: DatasetCounts) -> str:
    """`prm` as `describe_prm` gives it, with `base` and, where they were chosen, `threshold` and `aggregation`."""
    labels = ", ".join(f"`{text}` = {number}" for text, number in prm["label_tokens"].items())
    steps = ", ".join(f"{number:,} {text}" for text, number in sorted(counts.steps_by_label.items()))
    chosen = (
        f"a step counts as correct from {prm['threshold']:.3f} on, and a solution's score is the {prm['aggregation']} "
        "of its steps' scores; both were chosen on the validation split"
        if "threshold" in prm
        else "no threshold and no aggregation were chosen on a validation split"
    )
    return f"""---
library_name: transformers
tags: [process-reward-model, medical, medprm]
---
# A process reward model for medical reasoning

Scores every step of a solution: P(+) in [0, 1], read at the end of the assistant header behind the step.
**Research software, not a medical device.** What it was tested on, and how well it did, is in the report of its run.

| | |
|---|---|
| base | {prm["base"]} |
| data | {data_name}: {counts.num_solutions_kept:,} solutions, {counts.num_steps:,} steps ({steps}) |
| labels | {prm["labels"]["kind"]}; {chosen} |
| prompt | {prm["prompt"]["name"]} (its text is in `medprm.json`) |
| label tokens | {labels} |
| written by | MedPRM {prm["medprm_version"]} |

```python
from medprm.scoring.scorer import StepScorer

scorer = StepScorer.from_checkpoint("this folder")
step_scores = scorer.score(case, solutions, image_root)
```
"""
