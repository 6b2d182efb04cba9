"""The trade: accuracy against the memory and the compute that a training step takes.

Accuracy comes from the tiny scale, costs from the largest scale that was counted, at paper scale
where there is one; the captions say so. PKS4 at several places in its backbone is a line. The
Pareto front is drawn with its uncertainty: how often each point is on it when clips and seeds are
drawn again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure

from pks4.bench import units
from pks4.bench.report.figures import charts, common
from pks4.bench.report.figures.common import Omitted, Plot
from pks4.bench.stats import front
from pks4.bench.view import pooled_seeds
from pks4.bench.view.rows import Row, Setting
from pks4.bench.view.view import PKS4_FAMILY, View

COSTS = {  # metric: axis, unit
    "saved_bytes": ("bytes kept for backward", "B"),
    "macs_train": ("multiply-adds of a training step", "MAC"),
}
PLACE = "insert_after"  # the option of PKS4 that the line goes along
SURE = 0.5  # a point that is on the front in so many draws is named as on it


@dataclass(frozen=True, kw_only=True)
class Point:
    """A contestant's accuracy and one of its costs."""

    row: Row  # of top-1
    cost: Row
    on_front: float | None  # share of draws; None where clips were not recorded


def build(view: View) -> list[Plot | Omitted]:
    """For each task, accuracy against each cost that was counted for its contestants."""
    found = [_trade(view, setting) for setting in view.settings("top1")]
    return [plot for plot in found if plot is not None]


def _trade(view: View, setting: Setting) -> Plot | Omitted | None:
    panels = {
        metric: points for metric in COSTS if len(points := _points(view, setting, metric)) > 1
    }
    task = setting.task or setting.grid
    title = f"Accuracy against memory and compute, {task}"
    if not panels:
        return None  # a run without costs has no trade to show
    points = next(iter(panels.values()))
    rows, costs = [p.row for p in points], next(iter(points)).cost.setting
    return Plot(
        name=common.stem("trade", setting),
        title=title,
        caption=(
            f"{title}. Accuracy: {setting.title}; {common.measured_how(rows)}. Costs: "
            f"{costs.title}, T = {points[0].cost.frames}, one clip; "
            f"{common.measured_how([p.cost for p in points])}. "
            "Up and left is better. The thick line joins PKS4 over its place in the backbone. "
            f"Bars: {pooled_seeds.interval_words(rows)}. {_front_words(view, panels)}"
        ),
        alt=f"Scatter of {len(points)} contestants: top-1 against {units.listed(_axes(panels))}.",
        figure=_page(view, panels, title, f"{setting.title}; costs at {costs.scale} scale"),
        data=_data(view, panels),
    )


def _axes(panels: Mapping[str, Sequence[Point]]) -> list[str]:
    return [COSTS[metric][0] for metric in panels]


def _points(view: View, setting: Setting, metric: str) -> list[Point]:
    """Everyone with both numbers: top-1 at its largest T, the cost at the T that is nearest."""
    costs = _cost_setting(view, metric)
    if costs is None:
        return []
    found = []
    for label, row in view.at_largest(setting, "top1").items():
        series = view.series(costs, metric).get(label, {})
        if series:
            cost = series[min(series, key=lambda frames: abs(frames - row.frames))]
            if cost.value > 0:
                found.append((row, cost))
    shares = _shares(view, found)
    return [
        Point(row=row, cost=cost, on_front=share)
        for (row, cost), share in zip(found, shares, strict=True)
    ]


def _cost_setting(view: View, metric: str) -> Setting | None:
    """The setting of the costs: paper scale where it was counted."""
    return max(view.settings(metric), key=lambda s: s.scale == "paper", default=None)


def _shares(view: View, found: Sequence[tuple[Row, Row]]) -> list[float | None]:
    known = view.answers([row for row, _ in found])
    if known is None:
        return [None] * len(found)
    return list(front.shares([cost.value for _, cost in found], known))


def _front_words(view: View, panels: Mapping[str, Sequence[Point]]) -> str:
    parts = []
    for metric, points in panels.items():
        known = [p for p in points if p.on_front is not None and p.on_front >= SURE]
        ordered = sorted(known, key=lambda p: p.cost.value)
        named = [f"{view.name(p.row.label)} ({100 * (p.on_front or 0):.0f} %)" for p in ordered]
        if named:
            parts.append(f"{COSTS[metric][0]}: {units.listed(named)}")
    if not parts:
        return "The clips' answers were not recorded, so how sure the front is cannot be said."
    return (
        "Stepped line: the Pareto front as measured. On it in at least half of the draws of clips "
        f"and seeds, with the share of draws: {'; '.join(parts)}."
    )


def _page(view: View, panels: Mapping[str, Sequence[Point]], title: str, subtitle: str) -> Figure:
    who, shown = common.cast(view), [p.row.label for points in panels.values() for p in points]
    with common.page(view, title, subtitle, (6.6 * len(panels), 5.4), shown) as figure:
        every = figure.subplots(1, len(panels), squeeze=False)[0]
        common.margins(figure, wspace=0.2)
        for axes, (metric, points) in zip(every, panels.items(), strict=True):
            axis, unit = COSTS[metric]
            drawn = [(p.row.label, p.row, p.cost.value) for p in points]
            levels = common.levels("top1", [p.row for p in points])
            corners = front.front([(x, row.value) for _, row, x in drawn])
            common.subtitle_of(axes, f"top-1 against {axis}")
            axes.set_xlabel(axis)
            charts.scatter(axes, drawn, who, levels, corners, unit, _line(view, points))
    return figure


def _line(view: View, points: Sequence[Point]) -> list[int]:
    """The points of PKS4 on a frozen backbone that differ in their place alone, by cost."""
    groups: dict[str, list[int]] = {}
    for i, point in enumerate(points):
        options = {"frozen": True} | {k: v for k, v in point.row.options.items() if k != PLACE}
        if view.family(point.row.label) == PKS4_FAMILY and options["frozen"]:
            groups.setdefault(str(sorted(options.items())), []).append(i)
    longest = max(groups.values(), key=len, default=[])
    return sorted(longest, key=lambda i: points[i].cost.value) if len(longest) > 1 else []


def _data(view: View, panels: Mapping[str, Sequence[Point]]) -> pd.DataFrame:
    rows = [
        {
            **common.drawn(view, p.row),
            "cost": metric,
            "cost_frames": p.cost.frames,
            "cost_value": p.cost.value,
            "on_front_share": p.on_front,
        }
        for metric, points in panels.items()
        for p in points
    ]
    return pd.DataFrame(rows, dtype=object)
