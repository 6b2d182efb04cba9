"""Whether two rankings of the same methods agree: Kendall's tau with its interval.

Tau is 1 where all pairs of methods have the same order in both, -1 where all are turned over, 0
where as many agree as not (Kendall, Biometrika 30, 1938; tau-b, which allows for ties).
"""

from collections.abc import Sequence

import numpy as np

from pks4.bench.stats.intervals import LEVEL, Estimate
from pks4.bench.stats.redraws import redrawn

LEAST_METHODS = 3  # two methods have one order or the other


def agreement(
    first: Sequence[np.ndarray], second: Sequence[np.ndarray], level: float = LEVEL
) -> Estimate:
    """Tau between two rankings of k methods; `first` and `second` as `right` in `redrawn`.

    The interval is of percentiles over draws of clips and seeds, each side by itself.
    """
    sides = (first, second)
    seen = [np.array([[one.mean() for one in side]]) for side in sides]
    drawn = [redrawn(side, seed=number) for number, side in enumerate(sides)]
    tail = (1 - level) / 2
    low, high = np.quantile(_tau(*drawn), (tail, 1 - tail))
    return Estimate(
        value=float(_tau(*seen)[0]),
        interval=(float(low), float(high)),
        level=level,
        method="Kendall's tau-b; percentiles over draws of clips and seeds",
    )


def _tau(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Tau-b of each draw of two (draws, k); 0 where one side is all ties."""
    i, j = np.triu_indices(a.shape[1], 1)
    a, b = np.sign(a[:, i] - a[:, j]), np.sign(b[:, i] - b[:, j])  # (draws, pairs)
    untied = np.sqrt((a != 0).sum(1) * (b != 0).sum(1))
    return np.divide((a * b).sum(1), untied, out=np.zeros(len(a)), where=untied > 0)
