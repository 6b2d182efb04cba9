"""A chart of effects: one row a contestant, each a point with its interval beside "no effect".

`forest` draws onto axes that exist already, ratios on a logarithmic axis and differences of shares
on a linear one. Behind each row stands, where it is known, the band in which nothing is called an
effect.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator, NullLocator

from pks4.bench import charts, drawing
from pks4.bench.charts import Cast
from pks4.bench.palette import FAINT, INK, MUTED

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
    charts.name_rows(axes, [one.label for one in reversed(effects)], cast, shown=named)


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
