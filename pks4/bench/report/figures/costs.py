"""The figures of costs: which charts a run's records allow, with captions that say how measured.

`build` gives each figure that can be drawn and, for one that cannot, the reason. Nothing is
drawn from fewer than two contestants or, against T, from fewer than two frame counts. Accuracy is
drawn in `report/figures/accuracy.py` and `report/figures/curves.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from matplotlib.figure import Figure

from pks4.bench import units
from pks4.bench.report.figures import charts
from pks4.bench.report.figures.common import Omitted, Plot, cast, line_page, measured_how, stem
from pks4.bench.view.rows import Series, Setting
from pks4.bench.view.view import View


@dataclass(frozen=True, kw_only=True)
class _Metric:
    key: str
    title: str
    unit: str
    axis: str
    more: str


_AGAINST_T = (
    _Metric(
        key="saved_bytes",
        title="Activation memory against frames",
        unit="B",
        axis="bytes kept for the backward pass",
        more="Bytes are binary: 1 MiB is 2^20 bytes.",
    ),
    _Metric(
        key="macs_forward",
        title="MACs of the forward pass against frames",
        unit="MAC",
        axis="multiply-adds, forward",
        more="A multiply-add counts as one.",
    ),
    _Metric(
        key="macs_train",
        title="MACs of a training step against frames",
        unit="MAC",
        axis="multiply-adds, forward and backward",
        more="A multiply-add counts as one.",
    ),
    _Metric(
        key="step_seconds",
        title="Time of a training step against frames",
        unit="s",
        axis="seconds a step, median",
        more="Whiskers: interquartile range of the rounds. Times hold for this machine only.",
    ),
    _Metric(
        key="step_peak_bytes",
        title="Peak memory of a training step against frames",
        unit="B",
        axis="most bytes alive in a training step",
        more="Weights, AdamW's moments, gradients and inputs included; 1 MiB is 2^20 bytes.",
    ),
)
METRICS = {metric.key: metric for metric in _AGAINST_T}


def build(view: View) -> list[Plot | Omitted]:
    """Every figure of a cost against T, or the reason why it was left out."""
    made: list[Plot | Omitted] = []
    for metric in _AGAINST_T:
        settings = view.settings(metric.key)
        made += [_against_frames(view, setting, metric) for setting in settings]
        if not settings:
            made.append(Omitted(title=metric.title, why=f"no record of {metric.key}"))
    return made


def _against_frames(view: View, setting: Setting, metric: _Metric) -> Plot | Omitted:
    every = view.series(setting, metric.key)
    series = charts.positive(every)
    title = f"{metric.title} ({setting.title})"
    if len({frames for found in series.values() for frames in found}) < 2:
        return Omitted(title=title, why="fewer than two frame counts above zero")
    if len(series) < 2:
        return Omitted(title=title, why="fewer than two contestants above zero")
    rows = [row for found in series.values() for row in found.values()]
    how = measured_how(rows)
    return Plot(
        name=stem(metric.key, setting),
        title=metric.title,
        caption=f"{metric.title}; {setting.title}; {how}. {metric.more}{_zeros(view, every)}",
        alt=_alt(view, series, metric),
        figure=_line_page(view, series, metric, f"{setting.title}; {how}"),
    )


def _line_page(view: View, series: Mapping[str, Series], metric: _Metric, subtitle: str) -> Figure:
    who = cast(view)
    return line_page(
        view,
        charts.end_labels(series, who),
        [*series],
        lambda axes: charts.lines(axes, series, who, metric.unit),
        salt=metric.key,
        title=metric.title,
        subtitle=subtitle,
        axis=metric.axis,
    )


def _zeros(view: View, every: Mapping[str, Series]) -> str:
    above = charts.positive(every)
    zero = [view.name(label) for label in every if label not in above]
    return f" Not on a log axis, since it is 0: {units.listed(zero)}." if zero else ""


def _alt(view: View, series: Mapping[str, Series], metric: _Metric) -> str:
    """The figure in words: who is lowest and highest at the largest T that is shown."""
    last = max(frames for found in series.values() for frames in found)
    ends = sorted(
        (found[last].value, view.name(label)) for label, found in series.items() if last in found
    )
    (low, lowest), (high, highest) = ends[0], ends[-1]
    return (
        f"Line chart of {len(series)} contestants, {metric.axis} against T. At T = {last} from "
        f"{units.quantity(low, metric.unit)} ({lowest}) to "
        f"{units.quantity(high, metric.unit)} ({highest})."
    )
