"""The figures of effects with intervals: times against the baseline, and PKS4 less one switch.

Times are drawn at the T that most contestants share, over the noise floor of their session.
Switches are drawn where a setting holds nobody but PKS4 with other options, as an ablation does:
elsewhere they are in the table of differences.
"""

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.figure import Figure

from pks4.bench import units
from pks4.bench.report.figures import charts, common, labels
from pks4.bench.report.figures.charts import Effect
from pks4.bench.report.figures.common import Omitted, Plot
from pks4.bench.report.tables.times import noise_floor, ratio_words
from pks4.bench.view import versus_pks4
from pks4.bench.view.rows import Row, Setting
from pks4.bench.view.versus_pks4 import Difference
from pks4.bench.view.view import PKS4_FAMILY, View, common_frames

_OPERATIONS = {"forward_ratio": "forward", "step_ratio": "training step"}
_TIMES = "Times against the baseline"
_SWITCHES = "PKS4 with one switch changed"
_SHARES = {"top1": "top-1", "within_pair": "within pair"}
_ROW, _PANEL, _WORDS = 0.27, 3.9, 1.35  # inches: a row, a panel, the words right of it


def build(view: View) -> list[Plot | Omitted]:
    """Both kinds of figure for every setting that has one, or the reason why there is none."""
    timed = dict.fromkeys(s for metric in _OPERATIONS for s in view.settings(metric))
    figures: list[Plot | Omitted] = [_times(view, setting) for setting in timed]
    if not timed:
        figures.append(Omitted(title=_TIMES, why="no record of step_ratio"))
    ablated = [setting for setting in view.settings("top1") if _is_ablation(view, setting)]
    return [*figures, *(_switches(view, setting) for setting in ablated)]


def _times(view: View, setting: Setting) -> Plot:
    every = {metric: view.series(setting, metric) for metric in _OPERATIONS}
    every = {metric: series for metric, series in every.items() if series}
    frames = common_frames({(m, label): one for m, s in every.items() for label, one in s.items()})
    panels = {
        _OPERATIONS[metric]: found
        for metric, series in every.items()
        if (found := [one[frames] for one in series.values() if frames in one])
    }
    rows = [row for found in panels.values() for row in found]
    baselines = sorted({str(row.detail.get("reference", "the baseline")) for row in rows})
    whom = units.listed(view.name(b) if b in view.contestants else b for b in baselines)
    how = common.measured_how(rows)
    place = f"{setting.title}, T = {frames}"
    effects = {name: {row.label: _effect(row) for row in found} for name, found in panels.items()}
    ends = [(row.value, view.name(row.label)) for row in rows]
    return Plot(
        name=common.stem("time-ratios", setting),
        title=_TIMES,
        caption=(
            f"{_TIMES}, {whom}; {place}; {how}. Left of 1 is faster. Bars: 95 % bootstrap "
            "intervals over rounds. Grey: the noise floor of the session, inside which nothing is "
            "called a difference. Times hold for this machine only."
        ),
        alt=(
            f"Intervals of {units.counted(len(rows), 'ratio')}, "
            f"{common.lowest_to_highest(ends, units.times)}."
        ),
        figure=page(
            view, effects, _TIMES, f"{place}; {how}", f"time ÷ time of {whom}", ratios=True
        ),
        data=pd.DataFrame([_drawn(view, row) for row in rows], dtype=object),
    )


def _effect(row: Row) -> Effect:
    floor = noise_floor(row)
    return Effect(
        label=row.label,
        value=row.value,
        interval=row.interval(),
        band=None if floor is None else (1 / (1 + floor), 1 + floor),
        words=ratio_words(row),
    )


def _drawn(view: View, row: Row) -> dict[str, object]:
    shown = common.drawn(view, row, "ratio")
    more = {"noise_floor": noise_floor(row), "verdict": row.detail.get("verdict")}
    return {"metric": row.metric, **shown, **more}


def _is_ablation(view: View, setting: Setting) -> bool:
    present = view.series(setting, "top1")
    whole = view.ours in present and len(present) > 1
    return whole and {view.family(label) for label in present} == {PKS4_FAMILY}


def _switches(view: View, setting: Setting) -> Plot | Omitted:
    title = f"{_SWITCHES}, {setting.task or setting.grid}"
    found = [one for one in versus_pks4.compare(view, setting) if one.metric in _SHARES]
    frames = max((one.row.frames for one in found), default=0)
    found = [one for one in found if one.row.frames == frames]
    if not found:
        return Omitted(title=title, why=f"no seed that two share ({setting.title})")
    effects = {
        f"{_SHARES[metric]}, T = {frames}": {
            one.row.label: _difference(one) for one in found if one.metric == metric
        }
        for metric in dict.fromkeys(one.metric for one in found)
    }
    whom = view.name(view.ours)
    how = common.measured_how([one.row for one in found])
    seeds = units.listed(sorted({str(one.seeds) for one in found}))
    once = f" {versus_pks4.ONE_SEED}" if any(one.seeds == 1 for one in found) else ""
    ends = [(one.value, view.name(one.row.label)) for one in found]
    return Plot(
        name=common.stem("switches", setting),
        title=title,
        caption=(
            f"{title}; {setting.title}, T = {frames}, seeds: {seeds}; {how}. Share of clips with "
            f"the switch minus that of {whom}, paired by clip and seed; left of 0 the switch costs "
            "accuracy. Bars: 95 % intervals, not adjusted; the verdict weighs all comparisons at "
            f"once (Holm).{once}"
        ),
        alt=(
            f"Intervals of {units.counted(len(found), 'difference')} to {whom} in percentage "
            f"points, {common.lowest_to_highest(ends, units.points)}."
        ),
        figure=page(
            view, effects, title, f"{setting.title}; {how}", f"percentage points, minus {whom}",
            ratios=False,
        ),
    )  # fmt: skip


def _difference(one: Difference) -> Effect:
    words = f"{units.points(one.value)}, {one.verdict}"
    return Effect(label=one.row.label, value=one.value, interval=one.interval, words=words)


def page(
    view: View,
    panels: Mapping[str, Mapping[str, Effect]],
    title: str,
    subtitle: str,
    axis: str,
    *,
    ratios: bool,
    order: Sequence[str] = (),
    panel_width: float = _PANEL,
) -> Figure:
    """Panels side by side that share their rows; without `order` the last panel puts them in order.

    `panel_width` is in inches.
    """
    who = common.cast(view)
    order = order or _order([*panels.values()])
    height = _ROW * len(order) + 0.2
    size = 7.2, common.TOP + height + common.BOTTOM
    with common.page(view, title, subtitle, size, order) as figure:
        names = labels.width_inches(figure, [who.names[label] for label in order]) + 0.25
        width = max(size[0], names + len(panels) * (panel_width + _WORDS))
        figure.set_size_inches(width, size[1])
        room = (width - names) / len(panels)
        for place, (panel, found) in enumerate(panels.items()):
            left = names + place * room
            axes = common.panel(figure, left, common.TOP, room - _WORDS, height)
            effects = [found[label] for label in order if label in found]
            charts.forest(axes, effects, who, ratios=ratios, named=place == 0)
            common.subtitle_of(axes, panel)
            axes.set_xlabel(axis)
    return figure


def _order(panels: Sequence[Mapping[str, Effect]]) -> list[str]:
    """Labels by the effect in the last panel; those that only others hold come after."""
    last = panels[-1]
    ordered = sorted(last, key=lambda label: last[label].value)
    return [*ordered, *dict.fromkeys(label for one in panels for label in one if label not in last)]
