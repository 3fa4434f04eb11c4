"""The chosen selector against every other one: paired differences, corrected p-values, power.

In: curves by case. Out: `Comparison`s at one N, and how many patients it takes to see a difference of a given size.
"""

from typing import Any, NamedTuple

import numpy as np

from medprm.evaluation.selection import Curves
from medprm.evaluation.steps import Resampling
from medprm.statistics.bootstrap import Estimate, interval, ratio, resample_sums, sum_by_cluster
from medprm.statistics.power import clusters_needed, detectable, deviation_by_cluster, power
from medprm.statistics.significance import bootstrap_p, holm

EFFECTS = (0.01, 0.02, 0.05)
"""Differences in accuracy for which the power is said: 1, 2 and 5 points."""


class Comparison(NamedTuple):
    """`selector` minus `other` at N on the same cases. `p_holm` is corrected for all comparisons at this N.

    `deviation` is the standard deviation of the difference behind one patient, NaN with one patient.
    """

    selector: str
    other: str
    num_candidates: int
    difference: Estimate
    p: float
    p_holm: float
    deviation: float
    num_patients: int

    def as_json(self) -> dict[str, Any] | None:
        """None where the interval is undefined."""
        if not self.difference.is_defined:
            return None
        return {
            "selector": self.selector,
            "minus": self.other,
            "num_candidates": self.num_candidates,
            "difference": self.difference.as_json(),
            "p": self.p,
            "p_holm": self.p_holm,
            "power": self.power(),
        }

    def power(self) -> dict[str, Any]:
        """What this set can show, at a level of 5 % and, for `patients_needed` and `detectable`, a power of 80 %."""
        if not np.isfinite(self.deviation):
            return {"patients": self.num_patients}
        found: dict[str, Any] = {"patients": self.num_patients, "deviation": self.deviation}
        if self.deviation == 0:
            return found
        return found | {
            "detectable": detectable(self.deviation, self.num_patients),
            "power": {f"{effect:g}": power(effect, self.deviation, self.num_patients) for effect in EFFECTS},
            "patients_needed": {f"{effect:g}": clusters_needed(effect, self.deviation) for effect in EFFECTS},
        }


def compare_selectors(curves: Curves, chosen: str, size: int, resampling: Resampling) -> list[Comparison]:
    """The chosen selector minus every other one but the oracle, at N = `size`, Holm's correction over all of them."""
    enough = curves.enough(size)
    clusters = resampling.clusters([curves.group_ids[i] for i in enough])
    others = [name for name in curves.values if name not in (chosen, "oracle")]
    num_patients = len(set(clusters.index.tolist()))
    found = []
    for other in others:
        differences = curves.at(chosen, size) - curves.at(other, size)
        sums = sum_by_cluster(np.stack([differences, np.ones_like(differences)], axis=1), clusters)
        with np.errstate(divide="ignore", invalid="ignore"):
            resampled = ratio(resample_sums(sums, resampling.weights))
        measured = interval(float(differences.mean()), resampled, len(enough))
        deviation = deviation_by_cluster(differences, clusters)
        p = bootstrap_p(resampled)
        found.append(Comparison(chosen, other, size, measured, p, p, deviation, num_patients))
    corrected = holm([one.p for one in found])
    return [one._replace(p_holm=p) for one, p in zip(found, corrected, strict=True)]
