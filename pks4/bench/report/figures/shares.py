"""Charts of shares of clips as lines: against the number of frames, and over a training.

Both draw everyone in a `Cast` the same way, on a linear axis in %.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from matplotlib.axes import Axes

from pks4.bench.report.figures import charts, drawing
from pks4.bench.report.figures.common import Cast
from pks4.bench.report.figures.labels import Label
from pks4.bench.report.figures.palette import INK
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
        x = [frames * _shift(place, len(series)) for frames in found]
        axes.plot(x, [row.value for row in found.values()], **look.line | look.dot(edge=0.6))
        for across, row in zip(x, found.values(), strict=True):
            if ends := row.interval():
                charts.bar(axes, across, ends, look, alpha=0.8)


def frame_ends(series: Mapping[str, Series], cast: Cast) -> list[Label]:
    """The label at the end of each line, which starts at the line's last point."""
    ends = charts.end_labels(series, cast)
    return [replace(end, x=end.x * _shift(place, len(ends))) for place, end in enumerate(ends)]


def _shift(place: int, count: int) -> float:
    """The factor of T by which the points of one of so many contestants are moved."""
    return float(2 ** (_APART * (place - (count - 1) / 2)))


def over_training(
    axes: Axes, found: Mapping[str, Sequence[Curve]], cast: Cast, *, macs: bool
) -> None:
    """Top-1 after each epoch, against epochs or MACs: the mean, and each seed as a thin line."""
    drawing.clean(axes)
    every = [curve for seeds in found.values() for curve in seeds]
    for label, seeds in found.items():
        look = cast.looks[label]
        for curve in seeds if len(seeds) > 1 else ():
            thin = look.line | {"linestyle": "-", "linewidth": 0.7, "zorder": look.layer - 1}
            axes.plot(_across(curve.macs, macs), curve.top1, **thin, alpha=0.35)
        top1, spent = curves.mean(seeds)
        style = look.line | look.dot(-1, edge=0.5)
        axes.plot(_across(spent, macs), top1, **style, markevery=_marked(len(top1)))
    targets = sorted({curve.target for curve in every if curve.target is not None})
    charts.percent_axis(axes, "y", [*(s for curve in every for s in curve.top1), *targets])
    for target in targets:
        axes.axhline(target, **charts.DASHED)
        words = f"target, {100 * target:.4g} %"
        charts.note(axes, words, (0, target), (3, 3), ("axes fraction", "data"))
    if macs:
        drawing.log_axis(axes, "x", [spent for curve in every for spent in curve.macs], "MAC")
        axes.set_xlabel("multiply-adds of the training so far")
    else:
        axes.xaxis.set_major_locator(drawing.round_locator(10, integer=True))
        axes.set_xlabel("epoch")
    axes.xaxis.label.set_color(INK)


def _marked(epochs: int) -> tuple[int, int]:
    """Which epochs get a marker: at most ten, evenly, the last among them."""
    step = -(-epochs // 10)
    return (epochs - 1) % step, step


def curve_ends(found: Mapping[str, Sequence[Curve]], cast: Cast, *, macs: bool) -> list[Label]:
    """The label at the end of each mean curve."""
    ends = []
    for label, seeds in found.items():
        top1, spent = curves.mean(seeds)
        x = _across(spent, macs)[-1]
        ends.append(Label(x=x, y=top1[-1], words=cast.names[label], look=cast.looks[label]))
    return ends


def _across(spent: Sequence[float], macs: bool) -> Sequence[float]:
    """Where each epoch is drawn: at the MACs spent so far, or at its number."""
    return spent if macs else range(1, len(spent) + 1)
