"""The kinds of chart that the figures are made of, each drawn onto axes that exist already.

* `lines`: one metric against the number of frames T, both axes logarithmic;
* `scatter`: a share of clips against a cost, the latter logarithmic;
* `ranking`: a share of clips, one row per contestant, best first;
* `forest`: effects, one row per contestant, each a point with its interval over the band in which
  nothing is called an effect; ratios on a logarithmic axis, differences of shares on a linear one.

Each takes rows from a `View` and draws everyone in it the same way.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

from pks4.bench.report.figures import drawing, labels
from pks4.bench.report.figures.common import Cast
from pks4.bench.report.figures.drawing import Which
from pks4.bench.report.figures.labels import Label
from pks4.bench.report.figures.palette import FAINT, INK, MUTED, Look
from pks4.bench.view.rows import Row, Series
from pks4.bench.view.view import frame_counts

Points = Sequence[tuple[str, Row, float]]  # (label, share of clips, cost)
DASHED: dict[str, Any] = {"color": MUTED, "linewidth": 1.0, "linestyle": (0, (4, 3)), "zorder": 1}
_BAND = 0.36  # of a row: half the height of its band
_NARROW = 4  # a range of ratios, highest over lowest, below which ticks are evenly apart


def positive(series: Mapping[str, Series]) -> dict[str, Series]:
    """The parts of each series that a log axis can show: values above zero."""
    kept = {
        label: {frames: row for frames, row in found.items() if row.value > 0}
        for label, found in series.items()
    }
    return {label: found for label, found in kept.items() if found}


def quartiles(row: Row) -> tuple[float, float] | None:
    """First and third quartile of a record's samples; None when it keeps none."""
    samples = row.detail.get("samples_seconds")
    if not samples:
        return None
    low, high = np.percentile(samples, [25, 75])
    return float(low), float(high)


def end_labels(series: Mapping[str, Series], cast: Cast) -> list[Label]:
    """The label at the end of each line; one that stops early says where."""
    last = frame_counts(series)[-1]
    ends = []
    for label, found in series.items():
        end = max(found)
        words = cast.names[label] if end == last else f"{cast.names[label]} (to T = {end})"
        ends.append(Label(x=end, y=found[end].value, words=words, look=cast.looks[label]))
    return ends


def lines(axes: Axes, series: Mapping[str, Series], cast: Cast, unit: str) -> None:
    """One line per contestant with a marker at each T, whiskers where samples were kept."""
    reach: list[float] = []
    for label, found in series.items():
        look = cast.looks[label]
        values = [row.value for row in found.values()]
        axes.plot(list(found), values, **look.line | look.dot(edge=0.6))
        reach += values
        for frames, row in found.items():
            if ends := quartiles(row):
                bar(axes, frames, ends, look)
                reach += ends
    drawing.clean(axes)
    drawing.frame_axis(axes, frame_counts(series))
    drawing.log_axis(axes, "y", reach, unit)


def bar(axes: Axes, x: float, ends: tuple[float, float], look: Look, **style: Any) -> None:
    """A thin upright bar between two values."""
    shape: dict[str, Any] = {"color": look.colour, "linewidth": 1.0, "zorder": look.layer}
    axes.plot([x, x], ends, **shape | style)


def note(axes: Axes, words: str, at: tuple[float, float], shift: tuple[float, float],
         coordinates: Any = "data", **style: Any) -> Annotation:  # fmt: skip
    """Small grey words at a point, shifted by so many points of a letter."""
    small: dict[str, Any] = {"size": 7.5, "color": MUTED}
    return axes.annotate(
        words, at, xycoords=coordinates, xytext=shift, textcoords="offset points", **small | style
    )  # fmt: skip


def scatter(
    axes: Axes,
    points: Points,
    cast: Cast,
    levels: Mapping[str, float],
    front: Sequence[int] = (),
    unit: str = "MAC",
    line: Sequence[int] = (),
) -> None:
    """One point per contestant with its interval, over horizontal lines at the named `levels`.

    `points` hold the label, the record of the share, and the cost (> 0) in `unit`. `front` are the
    places, costs ascending, of those that a stepped line joins; `line` of those that are joined in
    the look of the first.
    """
    drawing.clean(axes)
    drawing.log_axis(axes, "x", [cost for _, _, cost in points], unit)
    low, high = axes.get_xlim()
    axes.set_xlim(low / 1.15, high * 1.45)  # room for names right of their points
    share_axis(axes, "y", [row for _, row, _ in points], levels)
    boxes = level_lines(axes, levels)
    boxes += _front(axes, [(points[i][2], points[i][1].value) for i in front])
    if line:
        style = cast.looks[points[line[0]][0]].line | {"linestyle": "-", "alpha": 0.6}
        axes.plot([points[i][2] for i in line], [points[i][1].value for i in line], **style)
    for label, row, cost in points:
        boxes += _point(axes, row, cost, cast.looks[label])
    ordered = sorted(points, key=lambda point: -point[1].value)
    named = [
        Label(x=cost, y=row.value, words=cast.names[label], look=cast.looks[label])
        for label, row, cost in ordered
    ]
    labels.around(axes, named, boxes)


def level_lines(axes: Axes, levels: Mapping[str, float]) -> list[Bbox]:
    """A dashed horizontal line at each named level; gives the boxes, in pixels, that they take."""
    taken = []
    for words, level in levels.items():
        axes.axhline(level, **DASHED)
        text = note(axes, words, (1, level), (-3, 3), ("axes fraction", "data"), ha="right")
        room = axes.get_window_extent()
        y = axes.get_yaxis_transform().transform((0, level))[1]
        line = Bbox.from_extents(room.x0, y - 2, room.x1, y + 2)
        taken += [line, text.get_window_extent().padded(1)]
    return taken


def _front(axes: Axes, corners: Sequence[tuple[float, float]]) -> list[Bbox]:
    """The stepped line through `corners` to the right edge; gives the boxes it takes, in pixels."""
    if not corners:
        return []
    x, y = zip(*corners, (axes.get_xlim()[1], corners[-1][1]), strict=True)
    axes.step(x, y, where="post", color=INK, linewidth=1.1, alpha=0.7, zorder=2)
    seen = axes.transData.transform([*zip(x, y, strict=True)])
    flat = [
        Bbox.from_extents(left, level - 2, right, level + 2)
        for (left, level), (right, _) in pairwise(seen)
    ]
    upright = [
        Bbox.from_extents(across - 2, low, across + 2, high)
        for (_, low), (across, high) in pairwise(seen)
    ]
    return flat + upright


def _point(axes: Axes, row: Row, cost: float, look: Look) -> list[Bbox]:
    """Draw one point with its bar; gives the boxes, in pixels, that labels must leave free."""
    low, high = row.interval() or (row.value, row.value)
    bar(axes, cost, (low, high), look, linewidth=1.3)
    axes.plot([cost], [row.value], **look.dot(2), zorder=look.layer + 1)
    x, y = axes.transData.transform((cost, row.value))
    ends = axes.transData.transform([(cost, low), (cost, high)])[:, 1]
    size = 5 * axes.figure.dpi / 72
    return [
        Bbox.from_extents(x - size, y - size, x + size, y + size),
        Bbox.from_extents(x - size / 3, ends[0], x + size / 3, ends[1]),
    ]


@dataclass(frozen=True, kw_only=True)
class Effect:
    """One row: an effect, its interval, the band around no effect, and the words at its end."""

    label: str
    value: float
    interval: tuple[float, float] | None
    band: tuple[float, float] | None = None
    words: str = ""


def ranking(axes: Axes, rows: Mapping[str, Row], cast: Cast, levels: Mapping[str, float]) -> None:
    """One row per contestant, best first, each a point with its interval and its value."""
    ordered = sorted(rows.values(), key=lambda row: row.value)
    drawing.clean(axes, grid="x")
    share_axis(axes, "x", ordered, levels)
    for words, level in levels.items():
        axes.axvline(level, **DASHED)
        note(axes, words, (level, 1), (0, 1), ("data", "axes fraction"), ha="center", size=7)
    for place, row in enumerate(ordered):
        words = f"{100 * row.value:.1f}"
        effect = Effect(label=row.label, value=row.value, interval=row.interval(), words=words)
        _row(axes, place, effect, cast)
    name_rows(axes, [row.label for row in ordered], cast)


def forest(axes: Axes, effects: Sequence[Effect], cast: Cast, *, ratios: bool, named: bool) -> None:
    """Draw the rows from top to bottom; `ratios`: no effect is 1, else 0, a share in points.

    `named`: each row says whose it is.
    """
    neutral = 1.0 if ratios else 0.0
    upwards = effects[::-1]
    drawing.clean(axes, grid="x")
    ends = [neutral]
    for place, one in enumerate(upwards):
        if one.band is not None:
            left, right = one.band
            axes.barh(place, right - left, 2 * _BAND, left, color=FAINT, zorder=1)
        _row(axes, place, one, cast)
        ends += [*(one.band or ()), *(one.interval or ()), one.value]
    axes.axvline(neutral, color=MUTED, linewidth=1.0, zorder=2)
    (_ratio_axis if ratios else _point_axis)(axes, min(ends), max(ends))
    name_rows(axes, [one.label for one in upwards], cast, shown=named)


def _row(axes: Axes, place: int, one: Effect, cast: Cast) -> None:
    """A point with its interval, and its words right of the axes."""
    look = cast.looks[one.label]
    ends = one.interval or (one.value, one.value)
    axes.plot(ends, [place, place], color=look.colour, linewidth=look.width, zorder=3)
    axes.plot([one.value], [place], **look.dot(1.5), zorder=4)
    note(axes, one.words, (1, place), (6, 0), ("axes fraction", "data"), va="center")


def name_rows(axes: Axes, rows: Sequence[str], cast: Cast, *, shown: bool = True) -> None:
    """Rows 0, 1, 2 … from below, each with the name of its label in the label's look, or bare."""
    axes.set_yticks(range(len(rows)), [cast.names[label] if shown else "" for label in rows])
    axes.set_ylim(-0.7, len(rows) - 0.3)
    axes.tick_params(axis="y", length=0)
    for tick, label in zip(axes.get_yticklabels(), rows, strict=True):
        look = cast.looks[label]
        tick.set(color=look.ink, size=labels.SIZE, weight=look.weight)


def share_axis(axes: Axes, which: Which, rows: Sequence[Row], levels: Mapping[str, float]) -> None:
    """A linear axis in % that holds every interval and level."""
    ends = [end for row in rows for end in (row.interval() or (row.value,))]
    percent_axis(axes, which, [*ends, *levels.values()])


def percent_axis(axes: Axes, which: Which, shares: Sequence[float]) -> None:
    """A linear axis in % that holds these shares, with a little air."""
    low, high = _with_air(min(shares), max(shares))
    drawing.linear_axis(
        axes, which, max(0.0, low), min(1.0, high) + 0.005, lambda share: f"{100 * share:.0f} %"
    )


def _point_axis(axes: Axes, low: float, high: float) -> None:
    low, high = _with_air(low, high)
    drawing.linear_axis(axes, "x", low, high, lambda d: f"{100 * d:+.0f}" if d else "0")


def _with_air(low: float, high: float) -> tuple[float, float]:
    air = max(0.06 * (high - low), 0.01)
    return low - air, high + air


def _ratio_axis(axes: Axes, low: float, high: float) -> None:
    low, high = low / 1.08, high * 1.08
    places = drawing.round_ticks(low, high, binary=False)
    if high < _NARROW * low:
        even = drawing.round_locator().tick_values(low, high)
        places = [float(place) for place in even if low <= place <= high]
    axes.set_xscale("log")
    drawing.ticks(axes.xaxis, places, [f"{place:.3g}×" for place in places])  # noqa: RUF001
    axes.set_xlim(low, high)
    axes.xaxis.label.set_color(INK)
