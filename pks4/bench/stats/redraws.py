"""Shares of several methods on the same clips, drawn again: other clips, other seeds.

What stands on several methods at once, such as a Pareto front or a ranking, has no formula for its
uncertainty; it is found in each draw anew. For the difference of two methods see `clips.py`.
"""

from collections.abc import Sequence

import numpy as np

DRAWS = 4000


def redrawn(right: Sequence[np.ndarray], draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """(draws, k): the shares of k methods.

    `right` holds for each method (s, c), whether each of the same c clips was right with each of
    its seeds. A draw takes clips with replacement, the same for all methods, and adds a normal
    deviation of each mean over seeds.
    """
    random = np.random.default_rng(seed)
    by_clip = np.array([one.mean(0) for one in right])  # (k, c)
    clips = by_clip.shape[1]
    drawn = random.multinomial(clips, np.full(clips, 1 / clips), size=draws) @ by_clip.T / clips
    return drawn + random.normal(size=drawn.shape) * [_error(one) for one in right]


def _error(right: np.ndarray) -> float:
    """Standard error of the mean over seeds (s, c); 0 with one seed."""
    return float(right.mean(1).std(ddof=1) / np.sqrt(len(right))) if len(right) > 1 else 0.0
