"""The figures of a report: which charts a run's records allow, with captions that say how measured.

`build` gives each figure that can be drawn and, for one that cannot, the reason. Nothing is
drawn from fewer than two contestants or, against T, from fewer than two frame counts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pks4.bench import charts, drawing, labels, palette, seeds, units
from pks4.bench.charts import Cast
from pks4.bench.view import FAMILIES, Row, Series, Setting, View

LEFT, RIGHT, BOTTOM, TOP = 0.95, 0.3, 0.55, 1.25  # inches around the axes


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A finished figure: its file stem, and what a caption and a screen reader say about it."""

    name: str
    title: str
    caption: str
    alt: str
    figure: Figure


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A figure as files: what is said about it, and its SVG and PNG bytes."""

    plot: Plot
    svg: bytes
    png: bytes

    @property
    def uri(self) -> str:
        """The SVG as the address of an image."""
        return drawing.data_uri(self.svg)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in CSS pixels."""
        width, height = self.plot.figure.get_size_inches()
        return round(96 * width), round(96 * height)


@dataclass(frozen=True, kw_only=True)
class Omitted:
    """A figure that was left out, and why."""

    title: str
    why: str


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
    """Every figure against T and every accuracy figure, or the reason why it was left out."""
    made: list[Plot | Omitted] = []
    for metric in _AGAINST_T:
        settings = view.settings(metric.key)
        made += [_against_frames(view, setting, metric) for setting in settings]
        if not settings:
            made.append(Omitted(title=metric.title, why=f"no record of {metric.key}"))
    tasks = view.settings("top1")
    made += [_against_compute(view, setting) for setting in tasks]
    if not tasks:
        made.append(Omitted(title="Accuracy against training compute", why="no record of top1"))
    return made


def render(plot: Plot) -> Picture:
    """The figure's files; its SVG ids are salted with its own name."""
    svg, png = drawing.write(plot.figure, plot.name)
    return Picture(plot=plot, svg=svg, png=png)


def cast(view: View, longest: int = 30) -> Cast:
    """Everyone in the run, as figures name (in at most `longest` signs) and draw them."""
    names = {label: view.name(label) for label in view.contestants}
    return charts.cast_of(names, palette.looks(view.contestants), longest)


def families(view: View, shown: Sequence[str]) -> list[str]:
    """The families of these labels: ours in their usual order, then others as they come."""
    present = dict.fromkeys(view.family(label) for label in shown)
    return [f for f in FAMILIES if f in present] + [f for f in present if f not in FAMILIES]


def stem(kind: str, setting: Setting) -> str:
    """A file stem that is safe whatever the records hold."""
    parts = [kind, setting.grid, setting.scale, f"b{setting.batch}", setting.task or ""]
    words = "-".join(part for part in parts if part)
    return "".join(sign if sign.isascii() and sign.isalnum() else "-" for sign in words).lower()


def measured_how(rows: Sequence[Row]) -> str:
    """How these numbers were made, in one clause for each fact that their evidence names."""
    told = []
    for key, words in (
        ("how", ""), ("device", "on "), ("dtype", ""), ("kernel", "attention kernel "),
        ("scan_backend", "scan "), ("rule", "rule "), ("reader", "reader "),
    ):  # fmt: skip
        values = sorted({str(row.evidence[key]) for row in rows if row.evidence.get(key)})
        if values:
            told.append(f"{words}{units.listed(values)}")
    return ", ".join(told)


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
    with drawing.style(metric.key):
        figure = drawing.page(9.2, max(5.1, 2.1 + 0.19 * len(series)))
        axes = figure.add_subplot()
        ends = charts.end_labels(series, who)
        side = labels.width_inches(figure, [end.words for end in ends])
        place(figure, right=RIGHT + side + labels.BESIDE)
        charts.lines(axes, series, who, metric.unit)
        subtitle_of(axes, metric.axis)
        labels.beside(axes, charts.end_labels(series, who))
        drawing.heading(figure, metric.title, subtitle, 0.2)
        drawing.family_key(figure, families(view, list(series)), 0.2, 0.74)
    return figure


def subtitle_of(axes: Axes, words: str) -> None:
    """What the vertical axis, or the panel, shows: horizontal, above the axes."""
    axes.set_title(words, loc="left", size=9.5, weight="bold", color=palette.INK, pad=10)


def place(figure: Figure, *, left: float = LEFT, right: float = RIGHT, **room: float) -> None:
    """Fix the axes inside margins given in inches."""
    width, height = figure.get_size_inches()
    figure.subplots_adjust(
        left=left / width,
        right=1 - right / width,
        bottom=BOTTOM / height,
        top=1 - TOP / height,
        **room,
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


SHARES = {"top1": "top-1 accuracy", "within_pair": "within-pair accuracy"}


def levels(metric: str, rows: Sequence[Row]) -> dict[str, float]:
    """What guessing gives: chance as the records state it; a coin's one half inside a pair."""
    if metric == "within_pair":
        return {"coin, 50 %": 0.5}
    chances = sorted({row.detail["chance"] for row in rows if row.detail.get("chance")})
    return {f"chance, {units.percent(chance)}": chance for chance in chances}


def _against_compute(view: View, setting: Setting) -> Plot | Omitted:
    title = f"Accuracy against training compute, {setting.task or setting.grid}"
    panels = {}
    for metric in SHARES:
        points = _points(view, setting, metric)
        if len(points) > 1:
            panels[metric] = points
    if not panels:
        why = f"fewer than two contestants with both accuracy and training MACs ({setting.title})"
        return Omitted(title=title, why=why)
    rows = [row for points in panels.values() for _, row, _ in points]
    how = measured_how(rows)
    best = max(panels[next(iter(panels))], key=lambda point: point[1].value)
    return Plot(
        name=stem("accuracy", setting),
        title=title,
        caption=f"{title}; {setting.title}; {how}. Bars: {seeds.interval_words(rows)}.",
        alt=(
            f"Scatter of {len(rows)} points with intervals. Highest {SHARES[next(iter(panels))]}: "
            f"{view.name(best[0])}, {units.percent(best[1].value)}."
        ),
        figure=_scatter_page(view, panels, title, f"{setting.title}; {how}"),
    )


def _points(view: View, setting: Setting, metric: str) -> list[tuple[str, Row, float]]:
    found = []
    for label, rows in view.series(setting, metric).items():
        for frames, row in rows.items():
            macs = view.find(setting, "training_macs", label, frames)
            if macs is not None and macs.value > 0:
                found.append((label, row, macs.value))
    return found


def _scatter_page(
    view: View, panels: Mapping[str, charts.Points], title: str, subtitle: str
) -> Figure:
    who = cast(view)
    with drawing.style(title):
        figure = drawing.page(6.6 * len(panels) if len(panels) > 1 else 8.2, 5.4)
        every = figure.subplots(1, len(panels), squeeze=False)[0]
        place(figure, wspace=0.2)
        for axes, (metric, points) in zip(every, panels.items(), strict=True):
            subtitle_of(axes, SHARES[metric])
            axes.set_xlabel("multiply-adds of the whole training")
            charts.scatter(axes, points, who, levels(metric, [row for _, row, _ in points]))
        drawing.heading(figure, title, subtitle, 0.2)
        shown = [label for points in panels.values() for label, _, _ in points]
        drawing.family_key(figure, families(view, shown), 0.2, 0.74)
    return figure
