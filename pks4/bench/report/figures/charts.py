"""The three kinds of chart that the figures are made of, each drawn onto axes that exist already.

* `lines`: one metric against the number of frames T, both axes logarithmic;
* `scatter`: a share of clips against training MACs, the latter logarithmic;
* `ranking`: a share of clips, one row per contestant, best first.

Each takes rows from a `View` and draws everyone in it the same way.

A chart of effects: one row a contestant, each a point with its interval beside "no effect".

`forest` draws onto axes that exist already, ratios on a logarithmic axis and differences of shares
on a linear one. Behind each row stands, where it is known, the band in which nothing is called an
effect.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator, NullLocator
from matplotlib.transforms import Bbox

from pks4.bench.report.figures import drawing, labels
from pks4.bench.report.figures.labels import Label
from pks4.bench.report.figures.palette import FAINT, INK, MUTED, Look
from pks4.bench.view.rows import Row, Series

Points = Sequence[tuple[str, Row, float]]  # (label, share of clips, training MACs)


@dataclass(frozen=True, kw_only=True)
class Cast:
    """Who is drawn: the name and the look of each label."""

    names: Mapping[str, str]
    looks: Mapping[str, Look]


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
    last = max(frames for found in series.values() for frames in found)
    made = []
    for label, found in series.items():
        end = max(found)
        words = cast.names[label] if end == last else f"{cast.names[label]} (to T = {end})"
        made.append(Label(x=end, y=found[end].value, words=words, look=cast.looks[label]))
    return made


def lines(axes: Axes, series: Mapping[str, Series], cast: Cast, unit: str) -> None:
    """One line per contestant with a marker at each T, whiskers where samples were kept."""
    reach: list[float] = []
    for label, found in series.items():
        look = cast.looks[label]
        values = [row.value for row in found.values()]
        axes.plot(
            list(found), values, color=look.colour, linestyle=look.dashes, linewidth=look.width,
            marker=look.marker, markersize=look.marker_size, markeredgecolor="white",
            markeredgewidth=0.6, zorder=look.layer,
        )  # fmt: skip
        reach += values
        for frames, row in found.items():
            ends = quartiles(row)
            if ends is not None:
                axes.plot(
                    [frames, frames], ends, color=look.colour, linewidth=1.0, zorder=look.layer
                )
                reach += ends
    drawing.clean(axes)
    drawing.frame_axis(axes, sorted({frames for found in series.values() for frames in found}))
    drawing.log_axis(axes, "y", reach, unit)


def scatter(
    axes: Axes,
    points: Points,
    cast: Cast,
    levels: Mapping[str, float],
    front: Sequence[int] = (),
) -> None:
    """One point per contestant with its interval, over horizontal lines at the named `levels`.

    `points` hold the label, the record of the share, and the training MACs (> 0). `front` are the
    places, MACs ascending, of those that a stepped line joins.
    """
    drawing.clean(axes)
    drawing.log_axis(axes, "x", [macs for _, _, macs in points], "MAC")
    low, high = axes.get_xlim()
    axes.set_xlim(low / 1.15, high * 1.45)  # names stand right of their points where they can
    share_axis(axes, "y", [row for _, row, _ in points], levels)
    boxes = level_lines(axes, levels)
    boxes += _front(axes, [(points[i][2], points[i][1].value) for i in front])
    for label, row, macs in points:
        boxes += _point(axes, row, macs, cast.looks[label])
    ordered = sorted(points, key=lambda point: -point[1].value)
    named = [
        Label(x=macs, y=row.value, words=cast.names[label], look=cast.looks[label])
        for label, row, macs in ordered
    ]
    labels.around(axes, named, boxes)


def level_lines(axes: Axes, levels: Mapping[str, float]) -> list[Bbox]:
    """A dashed horizontal line at each named level; gives the boxes, in pixels, that they take."""
    taken = []
    for words, level in levels.items():
        axes.axhline(level, color=MUTED, linewidth=1.0, linestyle=(0, (4, 3)), zorder=1)
        note = axes.annotate(
            words, (1, level), xycoords=("axes fraction", "data"), xytext=(-3, 3),
            textcoords="offset points", ha="right", size=7.5, color=MUTED,
        )  # fmt: skip
        taken += [_level_box(axes, level), note.get_window_extent().padded(1)]
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
    return [*flat, *upright]


def _level_box(axes: Axes, level: float) -> Bbox:
    """The strip, in pixels, that a horizontal line and its words take."""
    room = axes.get_window_extent()
    y = axes.get_yaxis_transform().transform((0, level))[1]
    return Bbox.from_extents(room.x0, y - 2, room.x1, y + 2)


def _point(axes: Axes, row: Row, macs: float, look: Look) -> list[Bbox]:
    """Draw one point with its bar; gives the boxes, in pixels, that labels must leave free."""
    low, high = row.interval() or (row.value, row.value)
    axes.plot([macs, macs], [low, high], color=look.colour, linewidth=1.3, zorder=look.layer)
    axes.plot(
        [macs], [row.value], color=look.colour, marker=look.marker, markeredgecolor="white",
        markersize=look.marker_size + 2, markeredgewidth=0.7, zorder=look.layer + 1,
    )  # fmt: skip
    x, y = axes.transData.transform((macs, row.value))
    ends = axes.transData.transform([(macs, low), (macs, high)])[:, 1]
    size = 5 * axes.figure.dpi / 72
    return [
        Bbox.from_extents(x - size, y - size, x + size, y + size),
        Bbox.from_extents(x - size / 3, ends[0], x + size / 3, ends[1]),
    ]


def ranking(axes: Axes, rows: Mapping[str, Row], cast: Cast, levels: Mapping[str, float]) -> None:
    """One row per contestant, best first, each a point with its interval and its value."""
    ordered = sorted(rows.items(), key=lambda item: item[1].value)
    drawing.clean(axes)
    axes.grid(visible=False, axis="y")
    axes.grid(axis="x", color=FAINT, linewidth=0.7)
    share_axis(axes, "x", list(rows.values()), levels)
    for words, level in levels.items():
        axes.axvline(level, color=MUTED, linewidth=1.0, linestyle=(0, (4, 3)), zorder=1)
        axes.annotate(
            words, (level, 1), xycoords=("data", "axes fraction"), xytext=(0, 1),
            textcoords="offset points", ha="center", size=7, color=MUTED,
        )  # fmt: skip
    for place, (label, row) in enumerate(ordered):
        look = cast.looks[label]
        ends = row.interval() or (row.value, row.value)
        axes.plot(ends, [place, place], color=look.colour, linewidth=look.width, zorder=3)
        axes.plot(
            [row.value], [place], color=look.colour, marker=look.marker, zorder=4,
            markersize=look.marker_size + 1.5, markeredgecolor="white", markeredgewidth=0.7,
        )  # fmt: skip
        axes.annotate(
            f"{100 * row.value:.1f}", (1, place), xycoords=("axes fraction", "data"),
            xytext=(6, 0), textcoords="offset points", va="center", size=7.5, color=MUTED,
        )  # fmt: skip
    name_rows(axes, [label for label, _ in ordered], cast)


def name_rows(axes: Axes, rows: Sequence[str], cast: Cast, *, shown: bool = True) -> None:
    """Rows 0, 1, 2 … from below, each with the name of its label in the label's look, or bare."""
    axes.set_yticks(range(len(rows)), [cast.names[label] if shown else "" for label in rows])
    axes.set_ylim(-0.7, len(rows) - 0.3)
    axes.tick_params(axis="y", length=0)
    for tick, label in zip(axes.get_yticklabels(), rows, strict=True):
        look = cast.looks[label]
        tick.set(color=look.ink, size=labels.SIZE, weight=look.weight)


def share_axis(axes: Axes, which: str, rows: Sequence[Row], levels: Mapping[str, float]) -> None:
    """A linear axis in % that holds every interval and level."""
    ends = [end for row in rows for end in (row.interval() or (row.value,))]
    percent_axis(axes, which, [*ends, *levels.values()])


def percent_axis(axes: Axes, which: str, shares: Sequence[float]) -> None:
    """A linear axis in % that holds these shares, with a little air."""
    low, high = min(shares), max(shares)
    air = max(0.06 * (high - low), 0.01)
    limits = (max(0.0, low - air), min(1.0, high + air) + 0.005)
    (axes.set_ylim if which == "y" else axes.set_xlim)(*limits)
    axis = axes.yaxis if which == "y" else axes.xaxis
    axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axis.set_major_formatter(lambda share, _: f"{100 * share:.0f} %")
    axis.label.set_color(INK)


def cast_of(names: Mapping[str, str], looks: Mapping[str, Look], longest: int) -> Cast:
    """A cast whose names fit into a figure: longer ones are cut and end in an ellipsis."""
    short = {k: n if len(n) <= longest else f"{n[: longest - 1]}…" for k, n in names.items()}
    return Cast(names=short, looks=looks)


_BAND = 0.36  # of a row: half the height of its band
_NARROW = 4  # a range of ratios, highest over lowest, below which ticks are evenly apart


@dataclass(frozen=True, kw_only=True)
class Effect:
    """One row: an effect, its interval, the band around no effect, and the words at its end."""

    label: str
    value: float
    interval: tuple[float, float] | None
    band: tuple[float, float] | None = None
    words: str = ""


def forest(axes: Axes, effects: Sequence[Effect], cast: Cast, *, ratios: bool, named: bool) -> None:
    """Draw the rows from top to bottom; `ratios`: no effect is 1, else 0, a share in points.

    `named`: each row says whose it is.
    """
    neutral = 1.0 if ratios else 0.0
    drawing.clean(axes)
    axes.grid(visible=False, axis="y")
    axes.grid(axis="x", color=FAINT, linewidth=0.7)
    ends = [neutral]
    for place, one in enumerate(reversed(effects)):
        look = cast.looks[one.label]
        low, high = one.interval or (one.value, one.value)
        if one.band is not None:
            left, right = one.band
            axes.barh(place, right - left, 2 * _BAND, left, color=FAINT, zorder=1)
            ends += one.band
        axes.plot([low, high], [place, place], color=look.colour, linewidth=look.width, zorder=3)
        axes.plot(
            [one.value], [place], color=look.colour, marker=look.marker, zorder=4,
            markersize=look.marker_size + 1.5, markeredgecolor="white", markeredgewidth=0.7,
        )  # fmt: skip
        axes.annotate(
            one.words, (1, place), xycoords=("axes fraction", "data"), xytext=(6, 0),
            textcoords="offset points", va="center", size=7.5, color=MUTED,
        )  # fmt: skip
        ends += [low, high, one.value]
    axes.axvline(neutral, color=MUTED, linewidth=1.0, zorder=2)
    (_ratio_axis if ratios else _point_axis)(axes, min(ends), max(ends))
    name_rows(axes, [one.label for one in reversed(effects)], cast, shown=named)


def _ratio_axis(axes: Axes, low: float, high: float) -> None:
    low, high = low / 1.08, high * 1.08
    ticks = drawing.round_ticks(low, high, binary=False)
    if high < _NARROW * low:
        even = MaxNLocator(6, steps=[1, 2, 5, 10]).tick_values(low, high)
        ticks = [float(tick) for tick in even if low <= tick <= high]
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(FixedFormatter([f"{tick:.3g}×" for tick in ticks]))  # noqa: RUF001
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(low, high)
    axes.xaxis.label.set_color(INK)


def _point_axis(axes: Axes, low: float, high: float) -> None:
    air = max(0.06 * (high - low), 0.01)
    axes.set_xlim(low - air, high + air)
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(lambda share, _: f"{100 * share:+.0f}" if share else "0")
    axes.xaxis.label.set_color(INK)
