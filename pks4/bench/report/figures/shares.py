"""Charts of shares of clips as lines: against the number of frames, and over a training.

Both draw everyone in a `Cast` the same way, on a linear axis in %.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from pks4.bench.report.figures import charts, drawing
from pks4.bench.report.figures.charts import Cast
from pks4.bench.report.figures.labels import Label
from pks4.bench.report.figures.palette import INK, MUTED
from pks4.bench.view import curves
from pks4.bench.view.curves import Curve
from pks4.bench.view.rows import Series
from pks4.bench.view.view import frame_counts

_APART = 0.025  # octaves of T between two contestants' bars


def against_frames(
    axes: Axes, series: Mapping[str, Series], cast: Cast, levels: Mapping[str, float]
) -> None:
    """One line per contestant with a marker and a bar at each T, over the named `levels`."""
    drawing.clean(axes)
    drawing.frame_axis(axes, frame_counts(series))
    rows = [row for found in series.values() for row in found.values()]
    charts.share_axis(axes, "y", rows, levels)
    charts.level_lines(axes, levels)
    for place, (label, found) in enumerate(series.items()):
        look = cast.looks[label]
        x = [frames * _aside(place, len(series)) for frames in found]
        axes.plot(
            x, [row.value for row in found.values()], color=look.colour, linestyle=look.dashes,
            linewidth=look.width, marker=look.marker, markersize=look.marker_size,
            markeredgecolor="white", markeredgewidth=0.6, zorder=look.layer,
        )  # fmt: skip
        for across, row in zip(x, found.values(), strict=True):
            ends = row.interval()
            if ends is not None:
                axes.plot(
                    [across, across], ends, color=look.colour, linewidth=1.0, alpha=0.8,
                    zorder=look.layer,
                )  # fmt: skip


def frame_ends(series: Mapping[str, Series], cast: Cast) -> list[Label]:
    """The label at the end of each line, which starts where its last point stands."""
    ends = charts.end_labels(series, cast)
    return [replace(end, x=end.x * _aside(place, len(ends))) for place, end in enumerate(ends)]


def _aside(place: int, count: int) -> float:
    """The factor of T by which the points of one of so many contestants stand aside."""
    return float(2 ** (_APART * (place - (count - 1) / 2)))


def over_training(
    axes: Axes, found: Mapping[str, Sequence[Curve]], cast: Cast, *, macs: bool
) -> None:
    """Top-1 after each epoch, against epochs or MACs: the mean, and each seed as a thin line."""
    drawing.clean(axes)
    shares = [share for own in found.values() for curve in own for share in curve.top1]
    targets = {curve.target for own in found.values() for curve in own} - {None}
    for label, own in found.items():
        look = cast.looks[label]
        if len(own) > 1:
            for curve in own:
                axes.plot(
                    _across(curve, macs), curve.top1, color=look.colour, linewidth=0.7,
                    alpha=0.35, zorder=look.layer - 1,
                )  # fmt: skip
        top1, spent = curves.mean(own)
        axes.plot(
            spent if macs else range(1, len(top1) + 1), top1, color=look.colour,
            linestyle=look.dashes, linewidth=look.width, marker=look.marker,
            markersize=look.marker_size - 1, markeredgecolor="white", markeredgewidth=0.5,
            markevery=_every(len(top1)), zorder=look.layer,
        )  # fmt: skip
    charts.percent_axis(axes, "y", [*shares, *(t for t in targets if t is not None)])
    for target in sorted(t for t in targets if t is not None):
        axes.axhline(target, color=MUTED, linewidth=1.0, linestyle=(0, (4, 3)), zorder=1)
        axes.annotate(
            f"target, {100 * target:.4g} %", (0, target), xycoords=("axes fraction", "data"),
            xytext=(3, 3), textcoords="offset points", size=7.5, color=MUTED,
        )  # fmt: skip
    if macs:
        every = [spent for own in found.values() for curve in own for spent in curve.macs]
        drawing.log_axis(axes, "x", every, "MAC")
        axes.set_xlabel("multiply-adds of the training so far")
    else:
        axes.xaxis.set_major_locator(MaxNLocator(10, steps=[1, 2, 5, 10], integer=True))
        axes.set_xlabel("epoch")
    axes.xaxis.label.set_color(INK)


def _every(epochs: int) -> tuple[int, int]:
    """Which epochs get a marker: at most ten, evenly, the last among them."""
    step = -(-epochs // 10)
    return (epochs - 1) % step, step


def curve_ends(found: Mapping[str, Sequence[Curve]], cast: Cast, *, macs: bool) -> list[Label]:
    """The label at the end of each mean curve."""
    made = []
    for label, own in found.items():
        top1, spent = curves.mean(own)
        made.append(
            Label(
                x=spent[-1] if macs else len(top1),
                y=top1[-1],
                words=cast.names[label],
                look=cast.looks[label],
            )
        )
    return made


def _across(curve: Curve, macs: bool) -> Sequence[float]:
    return curve.macs if macs else range(1, len(curve.top1) + 1)
