"""Drawing without global state: a page to draw on, clean axes, ticks that read as plain numbers,
labels that do not overlap, and files that are equal each time they are written.

Figures are made with matplotlib's object interface only. Text is never read as mathematics, since
names come from the records, and SVG ids are salted with the figure's name.
"""

import base64
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from textwrap import fill
from typing import Any, Literal

import matplotlib
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator, NullLocator

from pks4.bench import units
from pks4.bench.report.figures import palette

Which = Literal["x", "y"]  # axis of a chart
DPI = 160
SIGNS_AN_INCH = 15.0  # of a subtitle at its usual size
_STYLE: dict[Any, Any] = {
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana"],  # the widths that the layout is made for
    "font.size": 9.0,
    "axes.edgecolor": palette.MUTED,
    "axes.labelcolor": palette.INK,
    "axes.linewidth": 0.8,
    "axes.unicode_minus": False,
    "xtick.color": palette.MUTED,
    "ytick.color": palette.MUTED,
    "xtick.labelcolor": palette.INK,
    "ytick.labelcolor": palette.INK,
    "svg.fonttype": "none",  # text as text: small files, words that can be found
}


@contextmanager
def style(salt: str) -> Iterator[None]:
    """matplotlib's defaults plus ours, whatever the user's matplotlibrc says."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE | {"svg.hashsalt": salt})
        yield


def page(width: float, height: float) -> Figure:
    """A white page, in inches, that can measure text before it is written."""
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


FORMATS: dict[str, dict[str, None]] = {  # what must not be in a file, so that equal ones are equal
    "svg": {"Date": None, "Creator": None},
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


def write(figure: Figure, salt: str) -> dict[str, bytes]:
    """The figure's file in each of `FORMATS`, without dates or versions in it."""
    files = {}
    with style(salt):
        for kind, nothing in FORMATS.items():
            file = BytesIO()
            figure.savefig(file, format=kind, metadata=nothing)
            files[kind] = file.getvalue()
    return files


def data_uri(svg: bytes) -> str:
    """An SVG as the address of an image, so that its ids cannot clash with others in a page."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg).decode('ascii')}"


def heading(figure: Figure, title: str, subtitle: str, left: float) -> None:
    """Title and subtitle at the top left, in inches from the left edge."""
    width, height = figure.get_size_inches()
    figure.text(left / width, 1 - 0.28 / height, title, size=12.5, weight="bold", color=palette.INK)
    size = 8.5 if len(subtitle) <= SIGNS_AN_INCH * (width - 2 * left) else 7.0
    words = fill(subtitle, int(SIGNS_AN_INCH * 8.5 / size * (width - 2 * left)))
    top = 1 - 0.38 / height
    figure.text(left / width, top, words, size=size, color=palette.MUTED, va="top")


def clean(axes: Axes, grid: Which = "y") -> None:
    """Only the axes and lines that help reading."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis=grid, color=palette.FAINT, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(length=3)


def frame_axis(axes: Axes, frames: Sequence[int]) -> None:
    """A log2 axis with a plain number at each measured T."""
    axes.set_xscale("log", base=2)
    ticks(axes.xaxis, frames, map(str, frames))
    axes.set_xlim(frames[0] / 1.13, frames[-1] * 1.13)
    axes.set_xlabel("frames T")


def log_axis(axes: Axes, which: Which, values: Sequence[float], unit: str) -> None:
    """A log axis over `values` (all > 0) with round ticks written with their unit."""
    low, high = min(values) / 1.25, max(values) * 1.25
    axes.set(**{f"{which}scale": "log"})
    places = round_ticks(low, high, binary=unit == "B")
    ticks(axis_of(axes, which), places, [units.tick(place, unit) for place in places])
    axes.set(**{f"{which}lim": (low, high)})


def linear_axis(
    axes: Axes, which: Which, low: float, high: float, write: Callable[[float], str]
) -> None:
    """A linear axis from `low` to `high` with round ticks, each written by `write`."""
    axes.set(**{f"{which}lim": (low, high)})
    axis = axis_of(axes, which)
    axis.set_major_locator(round_locator())
    axis.set_major_formatter(lambda value, _: write(value))
    axis.label.set_color(palette.INK)


def round_locator(most: int = 6, *, integer: bool = False) -> MaxNLocator:
    """Finds at most so many intervals between ticks at 1, 2, 5, 10 of a decade."""
    return MaxNLocator(most, steps=[1, 2, 5, 10], integer=integer)


def axis_of(axes: Axes, which: Which) -> Axis:
    """The horizontal or the vertical axis."""
    return axes.yaxis if which == "y" else axes.xaxis


def ticks(axis: Axis, places: Sequence[float], words: Iterable[str]) -> None:
    """Ticks at these places alone, with these words."""
    axis.set_major_locator(FixedLocator(list(places)))
    axis.set_major_formatter(FixedFormatter(list(words)))
    axis.set_minor_locator(NullLocator())


def round_ticks(low: float, high: float, *, binary: bool) -> list[float]:
    """Round numbers inside [low, high], low > 0: three or more, and not many more.

    Binary ticks are powers of two; decimal ones the sparsest of 1, 1-3, 1-2-5, 1-2-3-5-7 and every
    digit of each decade that gives three.
    """
    if binary:
        exponents = range(math.ceil(math.log2(low)), math.floor(math.log2(high)) + 1)
        step = next(s for s in (1, 2, 4, 5, 10, 20) if len(exponents) <= 7 * s or s == 20)
        ticks = [2.0**n for n in exponents if n % step == 0]
        return ticks if len(ticks) > 1 else _even(low, high)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for digits in ((1,), (1, 3), (1, 2, 5), (1, 2, 3, 5, 7), range(1, 10)):
        ticks = [d * 10.0**n for n in decades for d in digits if low <= d * 10.0**n <= high]
        if len(ticks) >= 3:
            return ticks
    return _even(low, high)


def _even(low: float, high: float) -> list[float]:
    """Three ticks for a range too narrow for round ones."""
    return [low + (high - low) * part for part in (0.1, 0.5, 0.9)]


def family_key(figure: Figure, families: Sequence[str], left: float, top: float) -> None:
    """One row naming the families by colour and marker, in inches from the left and top edges."""
    handles = [
        Line2D([], [], color=palette.colour(f), marker=palette.marker(f), linewidth=1.6)
        for f in families
    ]
    key(figure, handles, [str(family) for family in families], left, top)


def key(
    figure: Figure,
    handles: Sequence[Artist],
    words: Sequence[str],
    left: float,
    top: float,
    handlelength: float = 2.2,
    **style: Any,
) -> None:
    """One row that says what each of `handles` is, in inches from the left and top edges."""
    width, height = figure.get_size_inches()
    figure.legend(
        handles,
        words,
        loc="center left",
        bbox_to_anchor=(left / width, 1 - top / height),
        ncols=len(words),
        frameon=False,
        borderpad=0,
        borderaxespad=0,
        handlelength=handlelength,
        columnspacing=1.6,
        fontsize=8.5,
        **style,
    )
