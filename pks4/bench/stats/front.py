"""The Pareto front of cost and value, and how sure it is who stands on it.

`shares` draws the values again, clips and seeds, and counts in how many draws each method is on the
front. Costs are exact.
"""

from collections.abc import Sequence

import numpy as np

from pks4.bench.stats.redraws import redrawn


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """The places of the (cost, value) points that are not dominated, cost ascending.

    A point is dominated by one that costs no more and is worth no less, and differs in one of the
    two. Equal points are on the front together.
    """

    def dominated(cost: float, value: float) -> bool:
        return any(c <= cost and v >= value and (c, v) != (cost, value) for c, v in points)

    kept = [place for place, point in enumerate(points) if not dominated(*point)]
    return sorted(kept, key=lambda place: points[place])


def shares(costs: Sequence[float], right: Sequence[np.ndarray]) -> list[float]:
    """The share of draws in which each of k methods is on the front; `right` as in `redrawn`."""
    drawn, costs_of = redrawn(right), np.asarray(costs)
    on_front = np.ones(drawn.shape, dtype=bool)
    for j, cost in enumerate(costs_of):
        others = (costs_of <= cost) & (np.arange(len(costs_of)) != j)
        on_front[:, j] = (drawn[:, others] < drawn[:, [j]]).all(1)
    return [float(share) for share in on_front.mean(0)]
