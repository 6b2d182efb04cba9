"""What all figures share: a plot and its files, who is drawn, the page, and words for captions."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pks4.bench import units
from pks4.bench.report.figures import drawing, labels, palette
from pks4.bench.report.figures.palette import Look
from pks4.bench.view.rows import Row, Series, Setting
from pks4.bench.view.view import FAMILIES, View, frame_counts

LEFT, RIGHT, BOTTOM, TOP = 0.95, 0.3, 0.55, 1.25  # inches around the axes
EDGE = 0.2  # inches between the page's left edge and its words


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A finished figure: its file stem, and what a caption and a screen reader say about it."""

    name: str
    title: str
    caption: str
    alt: str
    figure: Figure
    data: pd.DataFrame | None = None  # what is drawn, raw, where no table holds it as such


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A figure as files: what is said about it, and its bytes by format."""

    plot: Plot
    files: dict[str, bytes]

    @property
    def uri(self) -> str:
        """The SVG as the address of an image."""
        return drawing.data_uri(self.files["svg"])

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
class Cast:
    """Who is drawn: the name and the look of each label."""

    names: Mapping[str, str]
    looks: Mapping[str, Look]


def render(plot: Plot) -> Picture:
    """The figure's files; its SVG ids are salted with its name."""
    return Picture(plot=plot, files=drawing.write(plot.figure, plot.name))


def cast(view: View, longest: int = 30) -> Cast:
    """Everyone in the run; a name of more than `longest` signs is cut and ends in an ellipsis."""
    names = {label: view.name(label) for label in view.contestants}
    short = {k: n if len(n) <= longest else f"{n[: longest - 1]}…" for k, n in names.items()}
    return Cast(names=short, looks=palette.looks(view.contestants))


def families(view: View, shown: Iterable[str]) -> list[str]:
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
    clauses = []
    for key, words in (
        ("how", ""), ("device", "on "), ("dtype", ""), ("kernel", "attention kernel "),
        ("scan_backend", "scan "), ("rule", "rule "), ("reader", "reader "),
    ):  # fmt: skip
        values = sorted({str(row.evidence[key]) for row in rows if row.evidence.get(key)})
        if values:
            clauses.append(f"{words}{units.listed(values)}")
    return ", ".join(clauses)


def lowest_to_highest(values: Iterable[tuple[float, str]], write: Callable[[float], str]) -> str:
    """The two ends of (value, name), for a screen reader: `from 1 MiB (A) to 2 MiB (B)`."""
    named = sorted(values)
    (low, lowest), (high, highest) = named[0], named[-1]
    return f"from {write(low)} ({lowest}) to {write(high)} ({highest})"


def line_alt(
    view: View, series: Mapping[str, Series], axis: str, write: Callable[[float], str]
) -> str:
    """A chart of lines in words: who is lowest and highest at the largest T that is shown."""
    last = frame_counts(series)[-1]
    ends = [(found[last].value, view.name(label)) for label, found in series.items()
            if last in found]  # fmt: skip
    return (
        f"Line chart of {len(series)} contestants, {axis} against T. At T = {last} "
        f"{lowest_to_highest(ends, write)}."
    )


def drawn(view: View, row: Row, value: str = "share") -> dict[str, object]:
    """A number with its interval as a row of a figure's CSV."""
    low, high = row.interval() or (None, None)
    who = {"label": row.label, "contestant": view.name(row.label), "frames": row.frames}
    return {**who, value: row.value, "low": low, "high": high}


@contextmanager
def page(
    view: View,
    title: str,
    subtitle: str,
    size: tuple[float, float],
    shown: Iterable[str],
    key: float = 0.74,
) -> Iterator[Figure]:
    """A page to draw on, with its title, subtitle and the families of `shown`.

    `size` is in inches; `key` is where the row of families lies, in inches from the top.
    """
    with drawing.style(title):
        figure = drawing.page(*size)
        yield figure
        drawing.heading(figure, title, subtitle, EDGE)
        if named := families(view, shown):
            drawing.family_key(figure, named, EDGE, key)


def line_page(
    view: View,
    ends: Sequence[labels.Label],
    shown: Iterable[str],
    draw: Callable[[Axes], None],
    *,
    title: str,
    subtitle: str,
    axis: str,
) -> Figure:
    """A page with one chart of lines that `draw` draws, each named next to its end."""
    size = 9.2, max(5.1, 2.1 + 0.19 * len(ends))
    with page(view, title, subtitle, size, shown) as figure:
        axes = figure.add_subplot()
        side = labels.width_inches(figure, [end.words for end in ends])
        margins(figure, right=RIGHT + side + labels.MARGIN)
        draw(axes)
        subtitle_of(axes, axis)
        labels.at_ends(axes, ends)
    return figure


def subtitle_of(axes: Axes, words: str) -> None:
    """What the vertical axis, or the panel, shows: horizontal, above the axes."""
    axes.set_title(words, loc="left", size=9.5, weight="bold", color=palette.INK, pad=12)


def margins(figure: Figure, *, right: float = RIGHT, **room: float) -> None:
    """Fix the axes inside margins given in inches."""
    width, height = figure.get_size_inches()
    figure.subplots_adjust(
        left=LEFT / width,
        right=1 - right / width,
        bottom=BOTTOM / height,
        top=1 - TOP / height,
        **room,
    )


def panel(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes of a size, so far from the left and top edges: all in inches."""
    across, down = figure.get_size_inches()
    return figure.add_axes(
        (left / across, 1 - (top + height) / down, width / across, height / down)
    )


def levels(metric: str, rows: Sequence[Row]) -> dict[str, float]:
    """What guessing gives: chance as the records state it; a coin's one half inside a pair."""
    if metric == "within_pair":
        return {"coin, 50 %": 0.5}
    chances = sorted({row.detail["chance"] for row in rows if row.detail.get("chance")})
    return {f"chance, {units.percent(chance)}": chance for chance in chances}
