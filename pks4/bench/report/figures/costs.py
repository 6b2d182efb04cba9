"""The figures of costs: which charts a run's records allow, with captions that say how measured.

`build` gives each figure that can be drawn and, for one that cannot, the reason. Nothing is
drawn from fewer than two contestants or, against T, from fewer than two frame counts. Accuracy is
drawn in `report/figures/accuracy.py` and `report/figures/curves.py`.
"""

from typing import NamedTuple

from pks4.bench import units
from pks4.bench.report.figures import charts, common
from pks4.bench.report.figures.common import Omitted, Plot
from pks4.bench.view.rows import Setting
from pks4.bench.view.view import View, frame_counts


class _Metric(NamedTuple):
    key: str
    title: str
    unit: str
    axis: str
    more: str  # for the caption


_AGAINST_T = (
    _Metric(
        "saved_bytes", "Activation memory against frames", "B", "bytes kept for the backward pass",
        "Bytes are binary: 1 MiB is 2^20 bytes.",
    ),
    _Metric(
        "macs_forward", "MACs of the forward pass against frames", "MAC", "multiply-adds, forward",
        "A multiply-add counts as one.",
    ),
    _Metric(
        "macs_train", "MACs of a training step against frames", "MAC",
        "multiply-adds, forward and backward", "A multiply-add counts as one.",
    ),
    _Metric(
        "step_seconds", "Time of a training step against frames", "s", "seconds a step, median",
        "Whiskers: interquartile range of the rounds. Times hold for this machine only.",
    ),
    _Metric(
        "step_peak_bytes", "Peak memory of a training step against frames", "B",
        "most bytes alive in a training step",
        "Weights, AdamW's moments, gradients and inputs included; 1 MiB is 2^20 bytes.",
    ),
)  # fmt: skip
METRICS = {metric.key: metric for metric in _AGAINST_T}


def build(view: View) -> list[Plot | Omitted]:
    """Every figure of a cost against T, or the reason why it was left out."""
    figures: list[Plot | Omitted] = []
    for metric in _AGAINST_T:
        settings = view.settings(metric.key)
        figures += [_against_frames(view, setting, metric) for setting in settings]
        if not settings:
            figures.append(Omitted(title=metric.title, why=f"no record of {metric.key}"))
    return figures


def _against_frames(view: View, setting: Setting, metric: _Metric) -> Plot | Omitted:
    every = view.series(setting, metric.key)
    series = charts.positive(every)
    title = f"{metric.title} ({setting.title})"
    if len(frame_counts(series)) < 2:
        return Omitted(title=title, why="fewer than two frame counts above zero")
    if len(series) < 2:
        return Omitted(title=title, why="fewer than two contestants above zero")
    how = common.measured_how([row for found in series.values() for row in found.values()])
    zero = units.listed(view.name(label) for label in every if label not in series)
    zeros = f" Not on a log axis, since it is 0: {zero}." if zero else ""
    who = common.cast(view)
    return Plot(
        name=common.stem(metric.key, setting),
        title=metric.title,
        caption=f"{metric.title}; {setting.title}; {how}. {metric.more}{zeros}",
        alt=common.line_alt(
            view, series, metric.axis, lambda value: units.quantity(value, metric.unit)
        ),
        figure=common.line_page(
            view,
            charts.end_labels(series, who),
            series,
            lambda axes: charts.lines(axes, series, who, metric.unit),
            title=metric.title,
            subtitle=f"{setting.title}; {how}",
            axis=metric.axis,
        ),
    )
