"""The figures of accuracy: against training compute with its Pareto front, and against frames.

Nothing is drawn from fewer than two contestants or, against T, from fewer than two frame counts.
"""

from collections import Counter
from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure

from pks4.bench import units
from pks4.bench.report.figures import charts, common, shares
from pks4.bench.report.figures.common import Omitted, Plot
from pks4.bench.stats.front import front
from pks4.bench.view import pooled_seeds, trainings
from pks4.bench.view.rows import Row, Series, Setting
from pks4.bench.view.view import View, frame_counts

SHARES = {"top1": "top-1 accuracy", "within_pair": "within-pair accuracy"}
_COMPUTE = "Accuracy against training compute"
_FRAMES = "against frames"
_EQUAL = 1.02  # training MACs within this factor are equal compute, in whole steps


def build(view: View) -> list[Plot | Omitted]:
    """Each task against training compute, and against T where there are several."""
    tasks = view.settings("top1")
    if not tasks:
        return [Omitted(title=_COMPUTE, why="no record of top1")]
    return [
        *(_against_compute(view, setting) for setting in tasks),
        *(
            _against_frames(view, setting, metric, series)
            for metric in SHARES
            for setting in view.settings(metric)
            if len(frame_counts(series := view.series(setting, metric))) > 1
        ),
    ]


def _against_compute(view: View, setting: Setting) -> Plot | Omitted:
    title = f"{_COMPUTE}, {setting.task or setting.grid}"
    panels = {
        metric: points for metric in SHARES if len(points := _points(view, setting, metric)) > 1
    }
    if not panels:
        why = f"fewer than two contestants with both accuracy and training MACs ({setting.title})"
        return Omitted(title=title, why=why)
    rows = [row for points in panels.values() for _, row, _ in points]
    how = common.measured_how(rows)
    if images := trainings.image_words(view, [*{row.label: row for row in rows}.values()]):
        how += f"; {images}"
    best = max(panels[next(iter(panels))], key=lambda point: point[1].value)
    fronts = [f"{SHARES[metric]} at {_on_front(view, points)}" for metric, points in panels.items()]
    return Plot(
        name=common.stem("accuracy", setting),
        title=title,
        caption=(
            f"{title}; {setting.title}; {how}. Up and left is better. Stepped line: the Pareto "
            "front of the shares as measured, those that no other meets in accuracy for at most "
            f"their training MACs ({'; '.join(fronts)}); it does not weigh the bars. Bars: "
            f"{pooled_seeds.interval_words(rows)}. The training of the image model is not counted. "
            "Of several T, the one that most contestants share is shown."
        ),
        alt=(
            f"Scatter of {len(rows)} points with intervals. Highest {SHARES[next(iter(panels))]}: "
            f"{view.name(best[0])}, {units.percent(best[1].value)}."
        ),
        figure=_scatter_page(view, panels, title, f"{setting.title}; {how}"),
        data=_compute_data(view, panels),
    )


def _points(view: View, setting: Setting, metric: str) -> list[tuple[str, Row, float]]:
    """Everyone with both numbers, at the T that most of them share."""
    found = [
        (label, row, macs.value)
        for label, rows in view.series(setting, metric).items()
        for frames, row in rows.items()
        if (macs := view.find(setting, "training_macs", label, frames)) and macs.value > 0
    ]
    counts = Counter(row.frames for _, row, _ in found)
    shared = max(counts, key=lambda frames: (counts[frames], frames), default=0)
    return [point for point in found if point[1].frames == shared]


def _front(points: charts.Points) -> list[int]:
    """Places on the Pareto front; none where all trainings cost the same but for whole steps."""
    costs = [macs for _, _, macs in points]
    if max(costs) <= _EQUAL * min(costs):
        return []
    return front([(macs, row.value) for _, row, macs in points])


def _on_front(view: View, points: charts.Points) -> str:
    """Who is on the front, the cheapest first."""
    named = units.listed(view.name(points[place][0]) for place in _front(points))
    return f"T = {points[0][1].frames}: {named or 'none is drawn, since all cost the same'}"


def _scatter_page(
    view: View, panels: Mapping[str, charts.Points], title: str, subtitle: str
) -> Figure:
    who = common.cast(view)
    size = (6.6 * len(panels) if len(panels) > 1 else 8.2), 5.4
    shown = [label for points in panels.values() for label, _, _ in points]
    with common.page(view, title, subtitle, size, shown) as figure:
        every = figure.subplots(1, len(panels), squeeze=False)[0]
        common.margins(figure, wspace=0.2)
        for axes, (metric, points) in zip(every, panels.items(), strict=True):
            corners = _front(points)
            line = "; stepped line: Pareto front" if corners else ""
            common.subtitle_of(axes, f"{SHARES[metric]}, T = {points[0][1].frames}{line}")
            axes.set_xlabel("multiply-adds of the whole training")
            levels = common.levels(metric, [row for _, row, _ in points])
            charts.scatter(axes, points, who, levels, corners)
    return figure


def _compute_data(view: View, panels: Mapping[str, charts.Points]) -> pd.DataFrame:
    rows = [
        {
            "metric": metric,
            **common.drawn(view, row),
            "training_macs": macs,
            "image_top1": trainings.image_top1(view, row),
            "on_front": place in _front(points),
        }
        for metric, points in panels.items()
        for place, (_, row, macs) in enumerate(points)
    ]
    return pd.DataFrame(rows, dtype=object)


def _against_frames(
    view: View, setting: Setting, metric: str, series: Mapping[str, Series]
) -> Plot | Omitted:
    title = f"{SHARES[metric].capitalize()} {_FRAMES}, {setting.task or setting.grid}"
    if len(series) < 2:
        return Omitted(title=title, why=f"fewer than two contestants ({setting.title})")
    rows = [row for found in series.values() for row in found.values()]
    how, who = common.measured_how(rows), common.cast(view)
    levels = common.levels(metric, rows)
    return Plot(
        name=common.stem(f"{metric}_frames", setting),
        title=title,
        caption=(
            f"{title}; {setting.title}; {how}. Each point is a training at that T, evaluated at "
            f"the same T. Bars: {pooled_seeds.interval_words(rows)}; points of one T lie a "
            "little apart, so that their bars can be seen."
        ),
        alt=common.line_alt(view, series, SHARES[metric], units.percent),
        figure=common.line_page(
            view,
            shares.frame_ends(series, who),
            series,
            lambda axes: shares.against_frames(axes, series, who, levels),
            title=title,
            subtitle=f"{setting.title}; {how}",
            axis=SHARES[metric],
        ),
        data=pd.DataFrame([common.drawn(view, row) for row in rows], dtype=object),
    )
