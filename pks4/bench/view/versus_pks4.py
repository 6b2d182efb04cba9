"""Every contestant's accuracy minus that of PKS4, paired by clip and by seed.

`stats/clips.py` says how a difference is found. All comparisons of one setting at one T, of every
metric and contestant, are one family. A difference is "higher" or "lower" where Holm's adjustment
of that family leaves its p-value below 0.05; all others are "inconclusive", and none is "the same".
"""

from collections import Counter
from dataclasses import dataclass, replace
from functools import lru_cache

from pks4.bench.stats import clips, intervals
from pks4.bench.stats.intervals import Estimate
from pks4.bench.view.rows import Row, Setting
from pks4.bench.view.view import View

SHARES = {
    "top1": "top-1",
    "top5": "top-5",
    "within_pair": "within pair",
    "within_pair_motion": "motion pairs",
    "within_pair_order": "order pairs",
}
ONE_SEED = (
    "With one seed only clips are drawn: it holds for these trainings on other clips, and says "
    "nothing of another training."
)
_DRAWS_A_COMPARISON = 100  # so that the least p-value of a bootstrap can pass Holm's first step


@dataclass(frozen=True, kw_only=True)
class Difference(Estimate):
    """A contestant minus PKS4 in one metric at one T, over the seeds that both have.

    The interval is of this comparison alone; p is Holm-adjusted, None where nothing was tested.
    """

    row: Row  # the contestant's, pooled
    ours: Row  # PKS4's, pooled
    seeds: int
    family: int = 0  # comparisons that were adjusted together
    verdict: str = ""  # higher | lower | inconclusive

    @property
    def metric(self) -> str:
        """The metric that both rows are of."""
        return self.row.metric


@lru_cache(maxsize=16)
def compare(view: View, setting: Setting) -> tuple[Difference, ...]:
    """All comparisons of a setting, metric by metric, in the order of the plan, T ascending."""
    pairs = _pairs(view, setting)
    sizes = Counter(row.frames for row, _ in pairs)
    draws = max([clips.DRAWS, *(_DRAWS_A_COMPARISON * size for size in sizes.values())])
    every = [d for row, ours in pairs if (d := difference(view, row, ours, draws))]
    judged: dict[int, Difference] = {}
    for frames in sizes:
        judged |= _judged({i: d for i, d in enumerate(every) if d.row.frames == frames})
    return tuple(judged[place] for place in range(len(every)))


def _judged(family: dict[int, Difference]) -> dict[int, Difference]:
    """One family of comparisons with adjusted p-values and verdicts."""
    p = intervals.holm({i: d.p for i, d in family.items() if d.p is not None}, len(family))
    return {
        i: replace(d, family=len(family), p=p.get(i), verdict=_verdict(d.value, p.get(i)))
        for i, d in family.items()
    }


def difference(view: View, row: Row, ours: Row, draws: int = clips.DRAWS) -> Difference | None:
    """`row` minus `ours` over the seeds that both have, p not adjusted; None for too few seeds."""
    a, b = view.members(row), view.members(ours)
    found = clips.difference(a, b, draws=draws)
    if found is None:
        return None
    return Difference(**vars(found), row=row, ours=ours, seeds=len(a.keys() & b.keys()))


def _pairs(view: View, setting: Setting) -> list[tuple[Row, Row]]:
    pairs = []
    for metric in SHARES:
        series = view.series(setting, metric)
        ours = series.pop(view.ours, {})
        pairs += [(row, ours[t]) for one in series.values() for t, row in one.items() if t in ours]
    return pairs


def _verdict(difference: float, p: float | None) -> str:
    if p is None or p >= intervals.ALPHA:
        return "inconclusive"
    return "higher" if difference > 0 else "lower"
