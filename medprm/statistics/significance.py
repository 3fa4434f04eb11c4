"""P-values of paired differences, and their correction where several are tested.

In: resampled values of a difference (R,). Out: numbers in (0, 1]. NaN is undefined.
Sources: Davison and Hinkley 1997, section 4.4 (the p-value that inverts a percentile interval); Holm 1979.
"""

from collections.abc import Sequence

import numpy as np


def bootstrap_p(resampled: np.ndarray) -> float:
    """Two-sided: the smallest level at which the percentile interval excludes 0. Never below 2 / (R + 1).

    A difference that is 0 in every resample has p = 1.
    """
    defined = np.asarray(resampled, dtype=np.float64)
    defined = defined[np.isfinite(defined)]
    if len(defined) == 0:
        return float("nan")
    tails = [(1 + int((defined <= 0).sum())) / (len(defined) + 1), (1 + int((defined >= 0).sum())) / (len(defined) + 1)]
    return min(1.0, 2 * min(tails))


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for their number: the chance of any false alarm in the family stays below the level.

    NaN stays NaN and is not counted in the family.
    """
    order = [i for i in np.argsort(p_values, kind="stable") if np.isfinite(p_values[i])]
    corrected, running = [float("nan")] * len(p_values), 0.0
    for place, i in enumerate(order):
        running = max(running, min(1.0, (len(order) - place) * p_values[i]))
        corrected[i] = running
    return corrected
