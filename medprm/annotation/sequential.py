"""The sequential test: how unlikely a change of label must be at a look for rollouts to stop there.

In: the label of any counts, the plan, the looks, the stated error. Out: the limit of `counts.chance_of_change` below
which a prefix stops. The error is the expected share of labels that differ from those of all planned rollouts, over all
looks together; it is computed exactly, by recursion over the counts, for every chance of a right rollout. Assumed:
rollouts of a prefix are independent with one chance, and readable (few unreadable ones change little). Nothing is
assumed of a single step's chance; of many steps only how widely their chances are spread (`spread`).
Source of the predictive rule: Herson, Predictive probability early termination plans (Biometrics 1979). Wald's test and
a likelihood ratio at the rule's threshold saved less at the same error.
"""

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

from medprm.annotation.counts import LabelOf, chance_of_change
from medprm.cases.schema import Label, MonteCarlo

NUM_CHANCES = 200
CHANCES = (np.arange(NUM_CHANCES) + 0.5) / NUM_CHANCES
"""Chances of a right rollout (P,) that the error is computed at."""

Stops = Mapping[int, np.ndarray]
"""After n rollouts: whether to stop with r right ones, (n + 1,)."""


def chance_limit(label_of: LabelOf, num_planned: int, looks: Collection[int], error: float, spread: float) -> float:
    """The largest limit that keeps the error. `looks`: numbers of rollouts after which it is looked, below the plan."""

    def counts(num: int) -> list[MonteCarlo]:
        return [MonteCarlo(num_correct=r, num_wrong=num - r, num_planned=num_planned) for r in range(num + 1)]

    labels: list[list[Label]] = [[label_of(one) for one in counts(num)] for num in range(num_planned + 1)]
    differ = chance_by_counts(labels)
    change = {num: np.array([chance_of_change(one, label_of) for one in counts(num)]) for num in looks}
    limits = sorted({0.0, 1.0, *(float(one) for row in change.values() for one in row)})

    def holds(place: int) -> bool:
        stops = {num: row <= limits[place] for num, row in change.items()}
        return worst_share(expected_changes(stops, differ), spread) <= error

    place = last_true(holds, len(limits))
    # Halfway to the next: equal chances that were rounded apart fall on the same side.
    return (limits[place] + limits[min(place + 1, len(limits) - 1)]) / 2


def chance_by_counts(labels: Sequence[Sequence[Label]]) -> list[np.ndarray]:
    """For n rollouts (n + 1, P): chance that the label of all is another than now. `labels[n][r]`: that of r of n."""
    num_planned = len(labels) - 1
    differ = [np.ones((num + 1, NUM_CHANCES)) for num in range(num_planned + 1)]
    for label in set(labels[-1]):
        arrives = np.zeros((num_planned + 1, NUM_CHANCES))
        arrives[[one == label for one in labels[-1]]] = 1.0
        for num in range(num_planned, -1, -1):
            if num < num_planned:
                arrives = CHANCES * arrives[1:] + (1 - CHANCES) * arrives[:-1]
            is_now = [one == label for one in labels[num]]
            differ[num][is_now] -= arrives[is_now]
    return differ


def expected_changes(stops: Stops, differ: Sequence[np.ndarray]) -> np.ndarray:
    """Expected share of changed labels by the chance of a right rollout, (P,), over all looks."""
    under_way = np.ones((1, NUM_CHANCES))  # chance of r right ones and of not having stopped
    changed = np.zeros(NUM_CHANCES)
    for num in range(len(differ) - 1):
        if num in stops:
            changed += (under_way * differ[num])[stops[num]].sum(axis=0)
            under_way[stops[num]] = 0.0
        grown = np.zeros((num + 2, NUM_CHANCES))
        grown[1:] += under_way * CHANCES
        grown[:-1] += under_way * (1 - CHANCES)
        under_way = grown
    return changed


def worst_share(changed: np.ndarray, spread: float) -> float:
    """The share over steps whose chances are spread over this part of [0, 1], wherever that is worst."""
    num = max(1, round(spread * NUM_CHANCES))
    return float(np.sort(changed)[-num:].mean())


def last_true(holds: Callable[[int], bool], num: int) -> int:
    """The last place below `num` where `holds`, which is true at first (at 0 in any case) and false from some place."""
    low, high = 0, num - 1
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if holds(middle) else (low, middle - 1)
    return low
