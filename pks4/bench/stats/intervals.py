""" """

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from scipy import stats

if TYPE_CHECKING:
    pass
LEAST_SEEDS = 3
LEVEL = 0.05
_NO_SPREAD = 1e-9  # shares that differ by less are the same number


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """The mean of a few values, its 95 % interval (Student's t), and the p-value of a mean of 0.

    Interval and p are None for one value, and for values that are all the same: what spread they
    have cannot be told, and an interval without width would claim too much.
    """

    mean: float
    interval: tuple[float, float] | None
    p: float | None


def estimate(values: Sequence[float]) -> Estimate:
    """Mean of the values with a two-sided one-sample t-test against 0."""
    mean = fmean(values)
    if len(values) < 2 or max(values) - min(values) < _NO_SPREAD:
        return Estimate(mean=mean, interval=None, p=None)
    found = stats.ttest_1samp(values, 0.0)
    ends = found.confidence_interval(0.95)
    return Estimate(mean=mean, interval=(float(ends.low), float(ends.high)), p=float(found.pvalue))


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
