"""How many seeds show a difference: the power of the paired comparison of two contestants.

The variance of a mean difference over s seeds has two parts: that between seeds, which falls as
1 / s, and that between clips, which all seeds share and only more clips lower. `Spread` holds both,
as seen in a run. The test is a two-sided Student's t, degrees of freedom by Satterthwaite as in
`stats/clips.py`; its power is that of the noncentral t distribution (Cohen, Statistical Power
Analysis, 1988).
"""

from dataclasses import dataclass
from math import sqrt

import numpy as np
from scipy import optimize, stats

from pks4.bench.stats.clips import clip_noise, satterthwaite
from pks4.bench.stats.intervals import LEAST_SEEDS, LEVEL

POWER = 0.8  # how often a difference of that size is to be found
MOST_SEEDS = 1000
_QUANTILES = (np.arange(4000) + 0.5) / 4000


@dataclass(frozen=True)
class Spread:
    """Variances of the difference of two shares: of one seed's, and of what all seeds share."""

    between_seeds: float
    between_clips: float  # of the mean over clips
    clips: int

    @classmethod
    def of(cls, difference: np.ndarray) -> "Spread":
        """From differences (s, c), right minus right, of s ≥ 2 seeds on c ≥ 2 clips."""
        s, c = difference.shape
        clips = max(0.0, difference.mean(0).var(ddof=1) / c - clip_noise(difference) / s)
        return cls(float(difference.mean(1).var(ddof=1)), float(clips), c)

    def error(self, seeds: int) -> tuple[float, float]:
        """Standard error of the mean over so many seeds, and its degrees of freedom."""
        seed, clip = self.between_seeds / seeds, self.between_clips
        if not seed + clip:
            return 0.0, float(seeds - 1)
        return sqrt(seed + clip), satterthwaite(seed, seeds, clip, self.clips)


def power(spread: Spread, difference: float, seeds: int, level: float = LEVEL) -> float:
    """Probability that a true difference is found with so many seeds, at least two."""
    error, freedom = spread.error(seeds)
    if not error:
        return 1.0
    bound, shift = stats.t.ppf((1 + level) / 2, freedom), abs(difference) / error
    # t = (Z + shift) / sqrt(V / freedom), V chi-squared: the mean over quantiles of V. SciPy's
    # noncentral t gives NaN at so few degrees of freedom.
    reach = bound * np.sqrt(stats.chi2.ppf(_QUANTILES, freedom) / freedom)
    return float((stats.norm.sf(reach - shift) + stats.norm.cdf(-reach - shift)).mean())


def seeds_for(spread: Spread, difference: float, level: float = LEVEL) -> int | None:
    """The least number of seeds that finds it with `POWER`; None where `MOST_SEEDS` do not."""
    if power(spread, difference, MOST_SEEDS, level) < POWER:
        return None
    low, high = LEAST_SEEDS, MOST_SEEDS
    while low < high:
        middle = (low + high) // 2
        if power(spread, difference, middle, level) < POWER:
            low = middle + 1
        else:
            high = middle
    return low


def least_difference(spread: Spread, seeds: int, level: float = LEVEL) -> float:
    """The least true difference that so many seeds find with `POWER`; 0 without any variance."""
    error, _ = spread.error(seeds)
    if not error:
        return 0.0
    high = error
    while power(spread, high, seeds, level) < POWER:
        high *= 2
    return float(
        optimize.brentq(lambda d: power(spread, d, seeds, level) - POWER, 0.0, high, xtol=1e-6)
    )
