"""The Pareto front of cost and value: what no other point beats in both."""

from collections.abc import Sequence


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """The places of the (cost, value) points that are not dominated, cost ascending.

    A point is dominated by one that costs no more and is worth no less, and differs in one of the
    two. Equal points are on the front together.
    """
    kept = []
    for place, (cost, value) in enumerate(points):
        dominated = any(
            other_cost <= cost and other >= value and (other_cost, other) != (cost, value)
            for other_cost, other in points
        )
        if not dominated:
            kept.append(place)
    return sorted(kept, key=lambda place: points[place])
