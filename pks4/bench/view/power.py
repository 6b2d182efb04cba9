"""How many seeds each comparison with PKS4 needs, by the spread that a run showed.

One row for a rival at one T in one setting, in top-1 or whichever share is asked for. The level is
that of one comparison; the report adjusts for all of a setting (`view/versus_pks4.py`), so a suite
of many rivals needs more.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pks4.bench.stats import power
from pks4.bench.stats.clips import right_by_clip
from pks4.bench.stats.intervals import LEVEL
from pks4.bench.stats.power import Spread
from pks4.bench.view.rows import Row, Setting
from pks4.bench.view.view import View


@dataclass(frozen=True, kw_only=True)
class Power:
    """One comparison: its spread, and the seeds that find each of `differences`."""

    setting: Setting
    row: Row
    seeds: int  # that the run has
    spread: Spread
    seeds_for: dict[float, int | None]  # difference, a share -> seeds; None: more than MOST_SEEDS
    least_difference: float  # that the run's seeds find


def comparisons(
    view: View, differences: Sequence[float], metric: str = "top1", level: float = LEVEL
) -> list[Power]:
    """Every rival against PKS4 where both recorded answers on the same clips, two seeds or more."""
    found = []
    for setting in view.settings(metric):
        series = view.series(setting, metric)
        ours = series.pop(view.ours, {})
        for rows in series.values():
            for frames, row in rows.items():
                spread, seeds = _spread(view, row, ours[frames]) if frames in ours else (None, 0)
                if spread is not None:
                    found.append(
                        Power(
                            setting=setting,
                            row=row,
                            seeds=seeds,
                            spread=spread,
                            seeds_for={d: power.seeds_for(spread, d, level) for d in differences},
                            least_difference=power.least_difference(spread, seeds, level),
                        )
                    )
    return found


def _spread(view: View, row: Row, ours: Row) -> tuple[Spread | None, int]:
    a, b = view.members(row), view.members(ours)
    pairs = [(right_by_clip(a[s]), right_by_clip(b[s])) for s in a if s in b]
    known = [(x, y) for x, y in pairs if x is not None and y is not None and len(x) == len(y)]
    if len(known) < 2 or len({len(x) for x, _ in known}) != 1:
        return None, len(known)
    return Spread.of(np.array([x.astype(float) - y for x, y in known])), len(known)
