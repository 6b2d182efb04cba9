"""The headline figure: memory, MACs and accuracy as small multiples, for the README.

Above, the two exact costs against T, in the setting where most contestants were counted; below, up
to two accuracy tasks as rankings. A row without data is left out, and the caption says so.
"""

from collections.abc import Callable
from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pks4.bench import units
from pks4.bench.report.figures import charts, common, drawing, labels
from pks4.bench.report.figures import costs as cost_figures
from pks4.bench.report.figures.common import Omitted, Plot
from pks4.bench.view.rows import Row, Setting
from pks4.bench.view.view import COST_METRICS, View

_TASKS = 2
_LONGEST_NAME = 24
_PANEL, _ROOM, _TOP = (5.9, 3.3), 1.05, 0.9  # inches: a panel, between rows, above all
Draw = Callable[[Axes], None]


def build(view: View) -> Plot | Omitted:
    """The headline figure, or the reason why there is none."""
    above = _cost_panels(view)
    below = _task_panels(view)
    rows = [row for row in (above, below) if row]
    if not rows:
        return Omitted(title="Headline", why="neither costs at two T nor accuracy was measured")
    with drawing.style("headline"):
        figure = drawing.page(
            _PANEL[0] * max(map(len, rows)), _TOP + (_PANEL[1] + _ROOM) * len(rows)
        )
        widest = labels.width_inches(figure, _names(view))
        for line, row in enumerate(rows):
            sides = (0.85, widest + labels.BESIDE + 0.2) if row is above else (widest + 0.25, 0.55)
            for column, draw in enumerate(row):
                draw(_panel(figure, line, column, *sides))
        drawing.heading(
            figure, "Cost and accuracy at a glance", _subtitle(view, bool(above), bool(below)), 0.2
        )
        drawing.family_key(figure, common.families(view, list(view.contestants)), 0.2, 0.76)
    return Plot(
        name="headline",
        title="Cost and accuracy at a glance",
        caption=_caption(view, bool(above), bool(below)),
        alt="Small multiples: activation memory and MACs against frames, accuracy by contestant.",
        figure=figure,
    )


def _names(view: View) -> list[str]:
    """The words that panels write beside their axes."""
    who = common.cast(view, _LONGEST_NAME)
    setting = _cost_setting(view)
    found = [charts.positive(view.series(setting, m)) for m in COST_METRICS] if setting else []
    ends = [label.words for one in found if one for label in charts.end_labels(one, who)]
    return [*who.names.values(), *ends]


def _panel(figure: Figure, line: int, column: int, left: float, right: float) -> Axes:
    """Axes in a cell of the grid, with `left` and `right` inches inside it for names."""
    width, height = figure.get_size_inches()
    top = _TOP + line * (_PANEL[1] + _ROOM) + 0.5
    return figure.add_axes(
        (
            (column * _PANEL[0] + left) / width,
            1 - (top + _PANEL[1]) / height,
            (_PANEL[0] - left - right) / width,
            _PANEL[1] / height,
        )
    )


def _subtitle(view: View, costs: bool, scores: bool) -> str:
    told = ["exact costs"] * costs + ["accuracy with 95 % intervals"] * scores
    where = ("above", "below") if len(told) > 1 else ("",)
    parts = [f"{words} {place}".strip() for words, place in zip(told, where, strict=True)]
    return f"run {view.header.get('run')}; {', '.join(parts)}"


def _caption(view: View, costs: bool, scores: bool) -> str:
    told = []
    setting = _cost_setting(view)
    if costs and setting is not None:
        rows = [
            row
            for metric in COST_METRICS
            for found in view.series(setting, metric).values()
            for row in found.values()
        ]
        told.append(f"Costs: {setting.title}; {common.measured_how(rows)}.")
    if scores:
        told += [
            f"Accuracy: {task.title}; {common.measured_how(_rows(view, task))}."
            for task in _task_settings(view)
        ]
    told += ["No costs at two or more T."] * (not costs) + ["No accuracy measured."] * (not scores)
    return " ".join(told)


def _cost_setting(view: View) -> Setting | None:
    def contestants(setting: Setting) -> int:
        return len(view.series(setting, "saved_bytes")) + len(view.series(setting, "macs_forward"))

    return max(view.cost_settings, key=contestants, default=None)


def _cost_panels(view: View) -> list[Draw]:
    setting = _cost_setting(view)
    if setting is None:
        return []
    panels: list[Draw] = []
    for metric in COST_METRICS:
        series = charts.positive(view.series(setting, metric))
        if len(series) > 1 and len({t for found in series.values() for t in found}) > 1:
            panels.append(partial(_cost_panel, view=view, setting=setting, metric=metric))
    return panels


def _cost_panel(axes: Axes, *, view: View, setting: Setting, metric: str) -> None:
    who = common.cast(view, _LONGEST_NAME)
    series = charts.positive(view.series(setting, metric))
    about = cost_figures.METRICS[metric]
    charts.lines(axes, series, who, about.unit)
    common.subtitle_of(axes, about.axis)
    labels.beside(axes, charts.end_labels(series, who))


def _task_settings(view: View) -> list[Setting]:
    wanted = [s for s in view.settings("top1") if len(view.series(s, "top1")) > 1]
    return sorted(wanted, key=lambda s: -len(view.series(s, "top1")))[:_TASKS]


def _rows(view: View, setting: Setting) -> list[Row]:
    return [found[max(found)] for found in view.series(setting, "top1").values()]


def _task_panels(view: View) -> list[Draw]:
    return [partial(_task_panel, view=view, setting=setting) for setting in _task_settings(view)]


def _task_panel(axes: Axes, *, view: View, setting: Setting) -> None:
    rows = {label: found[max(found)] for label, found in view.series(setting, "top1").items()}
    frames = units.listed(map(str, sorted({row.frames for row in rows.values()})))
    charts.ranking(
        axes, rows, common.cast(view, _LONGEST_NAME), common.levels("top1", list(rows.values()))
    )
    task = setting.task or setting.grid
    common.subtitle_of(axes, f"top-1, {task} task, T = {frames}")
