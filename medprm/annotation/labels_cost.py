"""What labels cost, with intervals: dollars per label and per 10,000 cases.

In: what was measured, the journals, the ledger made of them. Out: one JSON object of {"value", "low", "high", "n"},
whose values are the ledger's; the intervals are by patient, over what each case cost.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from medprm.annotation.labels_report import Measured, source_labels
from medprm.annotation.ledger import CASES
from medprm.annotation.settings import ExpertSettings
from medprm.clients.journal import Journal
from medprm.statistics.bootstrap import draw_weights, estimate, number_clusters, ratio, sum_by_cluster

BY_CASE = """select case_id, sum(dollars), coalesce(sum(case when dollars = 0 then seconds end), 0)
  from attempts group by case_id"""


def cost_of(
    measured: Measured, journals: Sequence[Journal], ledger: dict[str, Any], experts: ExpertSettings, num_bootstrap: int
) -> dict[str, Any]:
    """Dollars per label and per 10,000 cases, calls, computing and experts together."""
    groups = {one.key.case_id: one.group_id for one in measured.steps}
    dollars = _dollars_by_case(measured, journals, ledger, experts)
    labels = Counter[str]()
    for one, label in zip(measured.steps, source_labels(measured)["hybrid_after_experts"], strict=True):
        labels[one.key.case_id] += label != "unknown"
    # A case that was paid for and has no steps in the end counts with its dollars.
    names = [*groups, *(name for name in dollars if name not in groups)]
    rows = np.array([[dollars.get(name, 0.0), float(name in groups), float(labels[name])] for name in names])
    clusters = number_clusters([groups.get(name, name) for name in names])
    weights = draw_weights(clusters.num, num_bootstrap, 0)
    sums = sum_by_cluster(rows * [CASES, 1, 1], clusters)
    found = {
        "dollars_per_10000_cases": estimate(ratio, sums[:, [0, 1]], weights, len(groups)),
        "dollars_per_label": estimate(ratio, sums[:, [0, 2]] / [CASES, 1], weights, labels.total()),
    }
    return {name: one.as_json() for name, one in found.items() if one.is_defined}


def _dollars_by_case(
    measured: Measured, journals: Sequence[Journal], ledger: dict[str, Any], experts: ExpertSettings
) -> dict[str, float]:
    """What was bought for each case, its part of the computing by the seconds of its calls, and its reviews."""
    dollars: defaultdict[str, float] = defaultdict(float)
    seconds: defaultdict[str, float] = defaultdict(float)
    for journal in journals:
        for case_id, bought, taken in journal.rows(BY_CASE):
            dollars[case_id] += bought
            seconds[case_id] += taken
    dollars_a_second = ledger["computing"]["dollars"] / max(sum(seconds.values()), 1e-9)
    for case_id, taken in seconds.items():
        dollars[case_id] += dollars_a_second * taken
    for key, said in measured.experts.items():
        for one in said:
            minutes = experts.minutes_per_step if one.seconds is None else one.seconds / 60
            dollars[key.case_id] += minutes / 60 * experts.dollars_per_hour
    return dollars
