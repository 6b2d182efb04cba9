""" """

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pks4.bench import units
from pks4.bench.report.figures import charts, drawing, labels, palette
from pks4.bench.report.figures.charts import Cast
from pks4.bench.view.rows import Row, Setting
from pks4.bench.view.view import FAMILIES, View

LEFT, RIGHT, BOTTOM, TOP = 0.95, 0.3, 0.55, 1.25  # inches around the axes


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


def render(plot: Plot) -> Picture:
    """The figure's files; its SVG ids are salted with its own name."""
    return Picture(plot=plot, files=drawing.write(plot.figure, plot.name))


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


def line_page(
    view: View,
    ends: Sequence[labels.Label],
    shown: Sequence[str],
    draw: Callable[[Axes], None],
    *,
    salt: str,
    title: str,
    subtitle: str,
    axis: str,
) -> Figure:
    """A page with one chart of lines that `draw` draws, each named beside its end."""
    with drawing.style(salt):
        figure = drawing.page(9.2, max(5.1, 2.1 + 0.19 * len(ends)))
        axes = figure.add_subplot()
        side = labels.width_inches(figure, [end.words for end in ends])
        place(figure, right=RIGHT + side + labels.BESIDE)
        draw(axes)
        subtitle_of(axes, axis)
        labels.beside(axes, ends)
        drawing.heading(figure, title, subtitle, 0.2)
        drawing.family_key(figure, families(view, shown), 0.2, 0.74)
    return figure


def subtitle_of(axes: Axes, words: str) -> None:
    """What the vertical axis, or the panel, shows: horizontal, above the axes."""
    axes.set_title(words, loc="left", size=9.5, weight="bold", color=palette.INK, pad=12)


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


def levels(metric: str, rows: Sequence[Row]) -> dict[str, float]:
    """What guessing gives: chance as the records state it; a coin's one half inside a pair."""
    if metric == "within_pair":
        return {"coin, 50 %": 0.5}
    chances = sorted({row.detail["chance"] for row in rows if row.detail.get("chance")})
    return {f"chance, {units.percent(chance)}": chance for chance in chances}
