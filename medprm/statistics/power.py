"""Power: how many patients it takes to see a difference of a given size, by the normal approximation.

In: paired differences by row and their clusters. Out: standard deviations, powers, numbers of clusters.
The difference counts as seen where its two-sided 95 % interval excludes 0.
Source: Cochran, Sampling Techniques (1977), section 6.3 (variance of a ratio); benchmarks/statistical_checks.py
checks the powers by simulation.
"""

import math
from statistics import NormalDist

import numpy as np

from medprm.statistics.bootstrap import Clusters, sum_by_cluster

NORMAL = NormalDist()
LEVEL = 0.05


def deviation_by_cluster(differences: np.ndarray, clusters: Clusters) -> float:
    """The standard deviation behind one cluster: the standard error of the mean is it over sqrt(number of clusters)."""
    differences = np.asarray(differences, dtype=np.float64)
    sums = sum_by_cluster(np.stack([differences - differences.mean(), np.ones_like(differences)], axis=1), clusters)
    present = sums[sums[:, 1] > 0]
    num = len(present)
    if num < 2:
        return float("nan")
    standard_error = math.sqrt(num / (num - 1) * float((present[:, 0] ** 2).sum())) / len(differences)
    return standard_error * math.sqrt(num)


def power(effect: float, deviation: float, num_clusters: int, level: float = LEVEL) -> float:
    """Chance that a true difference of `effect` is seen."""
    if deviation == 0:
        return 1.0 if effect else level
    shift, critical = abs(effect) * math.sqrt(num_clusters) / deviation, NORMAL.inv_cdf(1 - level / 2)
    return NORMAL.cdf(shift - critical) + NORMAL.cdf(-shift - critical)


def clusters_needed(effect: float, deviation: float, wanted: float = 0.8, level: float = LEVEL) -> int:
    """The smallest number of clusters at which a true difference of `effect` is seen with the chance `wanted`."""
    assert effect != 0 and 0 < wanted < 1, "a difference of 0 is never seen"
    quantiles = NORMAL.inv_cdf(1 - level / 2) + NORMAL.inv_cdf(wanted)
    return max(2, math.ceil((quantiles * deviation / effect) ** 2))


def detectable(deviation: float, num_clusters: int, wanted: float = 0.8, level: float = LEVEL) -> float:
    """The smallest true difference that is seen with the chance `wanted`."""
    return (NORMAL.inv_cdf(1 - level / 2) + NORMAL.inv_cdf(wanted)) * deviation / math.sqrt(num_clusters)
