"""An estimate with its interval, Student's t over a few values, and Holm's adjustment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from scipy import stats

ALPHA = 0.05  # a p-value below it counts
LEVEL = 1 - ALPHA  # of an interval, where nothing else is asked for
LEAST_SEEDS = 3  # for a test over seeds
_NO_SPREAD = 1e-9  # values that differ by less are the same number


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A value, its interval at `level`, the p-value of no difference, and how they were found.

    Interval and p are None where the values show no spread: an interval without width would claim
    too much.
    """

    value: float
    interval: tuple[float, float] | None
    level: float = LEVEL
    p: float | None = None
    method: str = ""


def estimate(values: Sequence[float], level: float = LEVEL) -> Estimate:
    """Mean of the values with a two-sided one-sample t-test against 0."""
    mean = fmean(values)
    if len(values) < 2 or max(values) - min(values) < _NO_SPREAD:
        return Estimate(value=mean, interval=None, level=level)
    test = stats.ttest_1samp(values, 0.0)
    low, high = map(float, test.confidence_interval(level))
    return Estimate(value=mean, interval=(low, high), level=level, p=float(test.pvalue))


def holm(p: Mapping[Any, float], comparisons: int) -> dict[Any, float]:
    """Holm's step-down adjustment (Scand. J. Statist. 6, 1979) of the p-values of `comparisons`.

    Comparisons that gave no p-value count as well.
    """
    adjusted: dict[Any, float] = {}
    highest = 0.0
    for place, label in enumerate(sorted(p, key=p.__getitem__)):
        highest = max(highest, (comparisons - place) * p[label])
        adjusted[label] = min(1.0, highest)
    return adjusted
