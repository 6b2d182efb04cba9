"""A paired bootstrap over clips and seeds: the difference of two methods in a share of clips right.

Both saw the same clips, with the same seeds. A draw takes seeds and clips anew, each clip with all
of its seeds and both methods: s seeds, c clips. Resampling a handful of seeds shows too little of
what they vary by, so the part of a draw that comes from seeds is spread as Student's t asks for
(s - 1 degrees of freedom). With one seed only clips are drawn, and the interval says nothing of
another training.
"""

from dataclasses import dataclass

import numpy as np

DRAWS = 4000


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A difference of shares: value, percentile interval, two-sided p-value, and how."""

    value: float
    interval: tuple[float, float]
    p: float
    method: str


def paired_bootstrap(
    a: np.ndarray, b: np.ndarray, *, level: float = 0.95, draws: int = DRAWS, seed: int = 0
) -> Estimate:
    """a minus b, both (s, c): whether each clip was right. Percentile interval at `level`."""
    difference = a.astype(float) - b.astype(float)  # (s, c)
    s, c = difference.shape
    chance = np.random.default_rng(seed)
    clips = chance.multinomial(c, np.full(c, 1 / c), size=draws) / c  # (draws, c)
    means = clips @ difference.T  # (draws, s)
    if s > 1:
        chosen = chance.multinomial(s, np.full(s, 1 / s), size=draws) / s
        even = means.mean(1)
        # s seeds drawn from s vary less by (s - 1) / s, and as a normal would, not as t
        widened = np.sqrt(s / chance.chisquare(s - 1, size=draws))
        found = even + ((chosen * means).sum(1) - even) * widened
    else:
        found = means[:, 0]
    tail = (1 - level) / 2
    low, high = np.quantile(found, (tail, 1 - tail))
    beyond = min(np.mean(found <= 0), np.mean(found >= 0))
    what = f"clips and {s} seeds" if s > 1 else "clips, one seed"
    return Estimate(
        value=float(difference.mean()),
        interval=(float(low), float(high)),
        p=float(min(1.0, 2 * (beyond * draws + 1) / (draws + 1))),
        method=f"paired bootstrap over {what}",
    )
