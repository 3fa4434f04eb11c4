"""Several training seeds combined: an interval that holds for another seed and for other patients.

In: one number per seed, all measured on the same patients, and the bootstrap of their mean over patients. Out:
`Estimate`. Two sources of chance add up: which patients (the bootstrap's variance) and which seed (the variance between
seeds over their number). Pooling the seeds' rows would count each patient as many times as there are seeds; resampling
two or three seeds would give an interval that is too narrow.
Source: Satterthwaite 1946 (degrees of freedom of a sum of two variances).
"""

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import stdtrit

from medprm.statistics.bootstrap import Estimate


def combine_seeds(by_seed: Sequence[float], resampled_mean: np.ndarray, num_clusters: int, n: int) -> Estimate:
    """Mean over seeds with a 95 % interval. `resampled_mean` (R,) is that mean in every resample of the patients.

    With one seed the variance between seeds is unknown, and the interval undefined.
    """
    value, num_seeds = float(np.mean(by_seed)), len(by_seed)
    defined = resampled_mean[np.isfinite(resampled_mean)]
    if num_seeds < 2 or num_clusters < 2 or len(defined) < 2 or not math.isfinite(value):
        return Estimate(value, float("nan"), float("nan"), n)
    of_patients = float(np.var(defined, ddof=1))
    of_seeds = float(np.var(by_seed, ddof=1)) / num_seeds
    total = of_patients + of_seeds
    if total == 0:
        return Estimate(value, value, value, n)
    freedom = total**2 / (of_patients**2 / (num_clusters - 1) + of_seeds**2 / (num_seeds - 1))
    margin = float(stdtrit(freedom, 0.975)) * math.sqrt(total)
    return Estimate(value, value - margin, value + margin, n)
