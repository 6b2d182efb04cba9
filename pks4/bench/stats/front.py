"""The Pareto front of cost and value, and how sure it is who stands on it.

`shares` draws the values again, clips and seeds as in `stats/clips.py`, and counts in how many
draws each method is on the front. Costs are exact.
"""

from collections.abc import Sequence

import numpy as np

DRAWS = 4000


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """The places of the (cost, value) points that are not dominated, cost ascending.

    A point is dominated by one that costs no more and is worth no less, and differs in one of the
    two. Equal points are on the front together.
    """

    def dominated(cost: float, value: float) -> bool:
        return any(c <= cost and v >= value and (c, v) != (cost, value) for c, v in points)

    kept = [place for place, point in enumerate(points) if not dominated(*point)]
    return sorted(kept, key=lambda place: points[place])


def shares(
    costs: Sequence[float], right: Sequence[np.ndarray], draws: int = DRAWS, seed: int = 0
) -> list[float]:
    """The share of draws in which each of k methods is on the front.

    `right` holds for each method (s, c), whether each of the same c clips was right with each of
    its seeds. A draw takes clips with replacement, the same for all methods, and adds a normal
    deviation of the mean over seeds.
    """
    random = np.random.default_rng(seed)
    by_clip = np.array([one.mean(0) for one in right])  # (k, c)
    clips = by_clip.shape[1]
    drawn = random.multinomial(clips, np.full(clips, 1 / clips), size=draws) @ by_clip.T / clips
    drawn += random.normal(size=drawn.shape) * [_error(one) for one in right]  # (draws, k)
    costs_of = np.asarray(costs)
    cheaper = costs_of[:, None] <= costs_of  # [i, j]: i costs no more than j
    on_front = np.ones(drawn.shape, dtype=bool)
    for j in range(len(costs_of)):
        others = cheaper[:, j] & (np.arange(len(costs_of)) != j)
        on_front[:, j] = (drawn[:, others] < drawn[:, [j]]).all(1)
    return [float(share) for share in on_front.mean(0)]


def _error(right: np.ndarray) -> float:
    """Standard error of the mean over seeds (s, c); 0 with one seed."""
    return float(right.mean(1).std(ddof=1) / np.sqrt(len(right))) if len(right) > 1 else 0.0
