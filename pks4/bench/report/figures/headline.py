"""The headline figure: memory, MACs and accuracy as small multiples, for the README.

Above, the two exact costs against T, in the setting where most contestants were counted; below, up
to two accuracy tasks as rankings. The panels of a row share its width. A row without data is left
out, and the caption says so.
"""

from collections.abc import Callable
from functools import partial

from matplotlib.axes import Axes

from pks4.bench import units
from pks4.bench.report.figures import charts, common, labels
from pks4.bench.report.figures import costs as cost_figures
from pks4.bench.report.figures.common import Omitted, Plot
from pks4.bench.view import trainings
from pks4.bench.view.rows import Setting
from pks4.bench.view.view import COST_METRICS, View, frame_counts

_TASKS = 2
_LONGEST_NAME = 24
_PANEL, _ROOM, _TOP = (5.9, 3.3), 1.05, 0.9  # inches: a panel, between rows, above all
Draw = Callable[[Axes], None]


def build(view: View) -> Plot | Omitted:
    """The headline figure, or the reason why there is none."""
    above, below = _cost_panels(view), _task_panels(view)
    rows = [row for row in (above, below) if row]
    if not rows:
        return Omitted(title="Headline", why="neither costs at two T nor accuracy was measured")
    title, subtitle = "Cost and accuracy at a glance", _subtitle(view, bool(above), bool(below))
    size = _PANEL[0] * max(map(len, rows)), _TOP + (_PANEL[1] + _ROOM) * len(rows)
    with common.page(view, title, subtitle, size, view.contestants, key=0.76) as figure:
        widest = labels.width_inches(figure, _names(view))
        for line, row in enumerate(rows):
            left, right = (widest + 0.25, 0.55)
            if row is above:
                left, right = (0.85, widest + labels.MARGIN + 0.2)
            top = _TOP + line * (_PANEL[1] + _ROOM) + 0.5
            share = size[0] / len(row)
            for column, draw in enumerate(row):
                side = column * share + left
                draw(common.panel(figure, side, top, share - left - right, _PANEL[1]))
    return Plot(
        name="headline",
        title=title,
        caption=_caption(view, bool(above), bool(below)),
        alt="Small multiples: activation memory and MACs against frames, accuracy by contestant.",
        figure=figure,
    )


def _names(view: View) -> list[str]:
    """The words that panels write next to their axes."""
    who = common.cast(view, _LONGEST_NAME)
    setting = _cost_setting(view)
    found = [charts.positive(view.series(setting, m)) for m in COST_METRICS] if setting else []
    ends = [label.words for series in found if series for label in charts.end_labels(series, who)]
    return [*who.names.values(), *ends]


def _subtitle(view: View, costs: bool, scores: bool) -> str:
    shown = ["exact costs"] * costs + ["accuracy with 95 % intervals"] * scores
    where = ("above", "below") if len(shown) > 1 else ("",)
    parts = [f"{words} {place}".strip() for words, place in zip(shown, where, strict=True)]
    return f"run {view.header.get('run')}; {', '.join(parts)}"


def _caption(view: View, costs: bool, scores: bool) -> str:
    sentences = []
    setting = _cost_setting(view)
    if costs and setting is not None:
        rows = [
            row
            for metric in COST_METRICS
            for found in view.series(setting, metric).values()
            for row in found.values()
        ]
        sentences.append(f"Costs: {setting.title}; {common.measured_how(rows)}.")
    if scores:
        for task in _task_settings(view):
            rows = [*view.at_largest(task, "top1").values()]
            how = [common.measured_how(rows), trainings.image_words(view, rows)]
            sentences.append(f"Accuracy: {'; '.join([task.title, *filter(None, how)])}.")
    if not costs:
        sentences.append("No costs at two or more T.")
    if not scores:
        sentences.append("No accuracy measured.")
    return " ".join(sentences)


def _cost_setting(view: View) -> Setting | None:
    def series(setting: Setting) -> int:
        return sum(len(view.series(setting, metric)) for metric in COST_METRICS)

    return max(view.cost_settings, key=series, default=None)


def _cost_panels(view: View) -> list[Draw]:
    setting = _cost_setting(view)
    if setting is None:
        return []
    panels: list[Draw] = []
    for metric in COST_METRICS:
        series = charts.positive(view.series(setting, metric))
        if len(series) > 1 and len(frame_counts(series)) > 1:
            panels.append(partial(_cost_panel, view=view, setting=setting, metric=metric))
    return panels


def _cost_panel(axes: Axes, *, view: View, setting: Setting, metric: str) -> None:
    who = common.cast(view, _LONGEST_NAME)
    series = charts.positive(view.series(setting, metric))
    about = cost_figures.METRICS[metric]
    charts.lines(axes, series, who, about.unit)
    common.subtitle_of(axes, about.axis)
    labels.at_ends(axes, charts.end_labels(series, who))


def _task_settings(view: View) -> list[Setting]:
    wanted = [s for s in view.settings("top1") if len(view.series(s, "top1")) > 1]
    return sorted(wanted, key=lambda s: -len(view.series(s, "top1")))[:_TASKS]


def _task_panels(view: View) -> list[Draw]:
    return [partial(_task_panel, view=view, setting=setting) for setting in _task_settings(view)]


def _task_panel(axes: Axes, *, view: View, setting: Setting) -> None:
    rows = view.at_largest(setting, "top1")
    frames = units.listed(map(str, sorted({row.frames for row in rows.values()})))
    levels = common.levels("top1", [*rows.values()])
    charts.ranking(axes, rows, common.cast(view, _LONGEST_NAME), levels)
    task = setting.task or setting.grid
    common.subtitle_of(axes, f"top-1, {task} task, T = {frames}")
