"""Every contestant's accuracy against the reference's, paired by clip and by seed.

Where both keep what they said of each clip, of the same clips, the difference comes from a paired
bootstrap over clips and seeds (`stats/clips.py`); with one seed over clips alone, which says
nothing of another training. Elsewhere values are paired by seed: two seeds give a difference,
three a t-test. All comparisons of one setting at one T, of every metric and contestant, are one
family: a difference is called "higher" or "lower" where Holm's adjustment of that family leaves its
p-value below 0.05, everything else is "inconclusive", and nothing is called "the same".
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from pks4.bench.stats import clips as clip_stats
from pks4.bench.stats import intervals
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
class Against:
    """A contestant minus the reference in one metric at one T, over the seeds that both have."""

    metric: str
    row: Row  # the contestant's, pooled
    base: Row  # the reference's, pooled
    seeds: int
    value: float
    interval: tuple[float, float] | None  # 95 %, of this comparison by itself
    method: str
    p: float | None  # Holm-adjusted; None where nothing was tested
    family: int  # comparisons that were adjusted together
    word: str  # higher | lower | inconclusive


@lru_cache(maxsize=16)
def compare(view: View, setting: Setting) -> tuple[Against, ...]:
    """All comparisons of a setting, metric by metric, in the order of the plan, T ascending."""
    pairs = _pairs(view, setting)
    sizes = Counter(row.frames for row, _ in pairs)
    draws = max([clip_stats.DRAWS, *(_DRAWS_A_COMPARISON * size for size in sizes.values())])
    found = [one for row, base in pairs if (one := difference(view, row, base, draws))]
    weighed: dict[int, Against] = {}
    for frames in sizes:
        weighed |= _weighed({i: one for i, one in enumerate(found) if one.row.frames == frames})
    return tuple(weighed[place] for place in range(len(found)))


def _weighed(found: dict[int, Against]) -> dict[int, Against]:
    """One family of comparisons with adjusted p-values and words."""
    p = intervals.holm({i: one.p for i, one in found.items() if one.p is not None}, len(found))
    return {
        i: replace(one, family=len(found), p=p.get(i), word=_word(one.value, p.get(i)))
        for i, one in found.items()
    }


def difference(view: View, row: Row, base: Row, draws: int = clip_stats.DRAWS) -> Against | None:
    """`row` minus `base` over the seeds that both have, p not adjusted; None for too few seeds."""
    own, ours = view.members(row), view.members(base)
    pairs = [(one, ours[seed]) for seed, one in own.items() if seed in ours]
    if not pairs:
        return None
    values = [one.value - other.value for one, other in pairs]
    clipwise = all(same_clips(*pair) for pair in pairs)
    if clipwise and (drawn := bootstrap(pairs, draws)):
        value, interval, p, method = drawn.value, drawn.interval, drawn.p, drawn.method
    elif clipwise:
        value, interval, p, method = 0.0, None, None, "right and wrong on the same clips"
    elif len(values) > 1:
        found = intervals.estimate(values)
        value, interval = found.mean, found.interval
        p = found.p if len(values) >= intervals.LEAST_SEEDS else None
        method = f"paired t-test over {len(values)} seeds"
    else:
        return None
    return Against(
        metric=row.metric, row=row, base=base, seeds=len(pairs), value=value, interval=interval,
        method=method, p=p, family=0, word="",
    )  # fmt: skip


def same_clips(one: Row, other: Row) -> bool:
    """Whether both keep, for each clip, if they were right, and of the same clips."""
    marks = [clip_stats.right_by_clip(row) for row in (one, other)]
    if any(mark is None or len(mark) < 2 for mark in marks):
        return False
    facts = [
        (row.detail["label"], *map(row.evidence.get, ("data", "split"))) for row in (one, other)
    ]
    return facts[0] == facts[1]


def bootstrap(pairs: Sequence[tuple[Row, Row]], draws: int) -> clip_stats.Estimate | None:
    """First minus second over clips and seeds; None where they never differ on any clip."""
    first, second = (
        np.array([clip_stats.right_by_clip(pair[side]) for pair in pairs]) for side in (0, 1)
    )
    if (first == second).all():
        return None
    return clip_stats.paired_bootstrap(first, second, draws=draws)


def _pairs(view: View, setting: Setting) -> list[tuple[Row, Row]]:
    found = []
    for metric in SHARES:
        series = view.series(setting, metric)
        ours = series.pop(view.reference, {})
        found += [(row, ours[t]) for own in series.values() for t, row in own.items() if t in ours]
    return found


def _word(difference: float, p: float | None) -> str:
    if p is None or p >= intervals.LEVEL:
        return "inconclusive"
    return "higher" if difference > 0 else "lower"
