"""Labels that do not overlap: right of the ends of lines, and around the points of a scatter.

Both ways are deterministic. Line ends are pushed apart along one edge by the least total shift that
leaves room for each (pool adjacent violators); points take the first free place around them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

from pks4.bench.report.figures.palette import MUTED, Look

SIZE = 8.0
_LINE_HEIGHT = 1.32
_BEND, _SAMPLE = 0.2, 0.34  # inches: where a joining line bends, and a sample of the line's dashes
MARGIN = _BEND + _SAMPLE + 0.1  # inches between the axes and the words of `at_ends`
_RINGS = (7, 16, 27, 40, 56)
_CROSSING = 400.0  # square pixels of overlap that a line through another label is worth
_AROUND = ((1, 0), (-1, 0), (0, 1), (0, -1), (0.8, 0.8), (0.8, -0.8), (-0.8, 0.8), (-0.8, -0.8))


@dataclass(frozen=True, kw_only=True)
class Label:
    """A name at a point in data coordinates, in the look of its contestant."""

    x: float
    y: float
    words: str
    look: Look


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Ascending positions nearest to `wanted` (ascending), at least `gap` apart, in [low, high].

    If they cannot all fit, the gap shrinks to what the room allows.
    """
    count = len(wanted)
    if count > 1:
        gap = min(gap, (high - low) / (count - 1))
    blocks: list[list[float]] = []  # each [sum, size]: positions less i * gap, pooled
    for place, want in enumerate(wanted):
        blocks.append([want - place * gap, 1])
        while len(blocks) > 1 and blocks[-2][0] / blocks[-2][1] >= blocks[-1][0] / blocks[-1][1]:
            total, size = blocks.pop()
            blocks[-1][0] += total
            blocks[-1][1] += size
    levels = [total / size for total, size in blocks for _ in range(int(size))]
    top = high - gap * (count - 1)
    return [min(max(level, low), top) + place * gap for place, level in enumerate(levels)]


def at_ends(axes: Axes, labels: Sequence[Label]) -> None:
    """Write each label right of the axes, level with its point if there is room, and join both."""
    room = axes.get_window_extent()
    width, height = room.width / axes.figure.dpi, room.height / axes.figure.dpi
    gap = SIZE * _LINE_HEIGHT / 72 / height
    to_axes = axes.transData + axes.transAxes.inverted()
    ends = sorted(((*to_axes.transform((i.x, i.y)), i) for i in labels), key=lambda end: end[1])
    places = spread([end for _, end, _ in ends], gap, 0.0, 1.0)
    for (start, end, item), place in zip(ends, places, strict=True):
        common: dict[str, Any] = {"transform": axes.transAxes, "clip_on": False}
        axes.plot(
            [start, 1.0, 1.0 + _BEND / width], [end, end, place],
            color=item.look.colour, linewidth=0.7, alpha=0.55, zorder=1, **common,
        )  # fmt: skip
        axes.plot(
            [1.0 + (_BEND + 0.04) / width, 1.0 + (_BEND + _SAMPLE) / width], [place, place],
            color=item.look.colour, linestyle=item.look.dashes, linewidth=item.look.width, **common,
        )  # fmt: skip
        axes.text(
            1.0 + (_BEND + _SAMPLE + 0.07) / width, place, item.words, va="center_baseline",
            color=item.look.ink, size=SIZE, weight=item.look.weight, **common,
        )  # fmt: skip


def width_inches(figure: Figure, words: Sequence[str]) -> float:
    """The width of the widest of these words, in inches, in bold."""
    probe = figure.text(0, 0, "", size=SIZE, weight="bold")
    widths = [0.0]
    for word in words:
        probe.set_text(word)
        widths.append(probe.get_window_extent().width / figure.dpi)
    probe.remove()
    return max(widths)


def around(axes: Axes, labels: Sequence[Label], taken: Sequence[Bbox]) -> None:
    """Write each label at the first place around its point that is free of text, points and bars.

    `taken` are boxes in pixels that must stay free. A label away from its point gets a thin line.
    """
    busy = list(taken)
    for item in labels:
        note = axes.annotate(
            item.words, (item.x, item.y), xytext=(0, 0), textcoords="offset points", size=SIZE,
            color=item.look.ink, weight=item.look.weight, annotation_clip=False, zorder=6,
            arrowprops={"arrowstyle": "-", "color": MUTED, "linewidth": 0.6,
                        "shrinkA": 0, "shrinkB": 4},
        )  # fmt: skip
        busy.append(_place(axes, note, busy))


def _place(axes: Axes, note: Annotation, busy: Sequence[Bbox]) -> Bbox:
    room = axes.get_window_extent().padded(2)
    costs = {}
    for ring, radius in enumerate(_RINGS):
        for x, y in _AROUND:
            box = _move(note, x * radius, y * radius)
            cost = sum(_shared(box, other) for other in busy)
            cost += 2 * (box.width * box.height - _shared(box, room))
            cost += _CROSSING * _crossings(axes, note.xy, box, busy) if ring else 0
            costs[ring, x, y] = round(cost)
    ring, x, y = min(costs, key=costs.__getitem__)  # the nearest of those that cost the least
    if note.arrow_patch is not None:
        note.arrow_patch.set_visible(ring > 0)
    return _move(note, x * _RINGS[ring], y * _RINGS[ring])


def _move(note: Annotation, x: float, y: float) -> Bbox:
    """Put a label `x` right of and `y` above its point, in points; gives its box in pixels."""
    note.set(
        position=(x, y),
        horizontalalignment="left" if x > 0 else "right" if x < 0 else "center",
        verticalalignment="bottom" if y > 0 else "top" if y < 0 else "center",
    )
    return _text_box(note).padded(1.5)


def _crossings(axes: Axes, point: tuple[float, float], box: Bbox, busy: Sequence[Bbox]) -> float:
    """How much of the line from a point to its label runs through other boxes: 0 to 1 each."""
    start = axes.transData.transform(point)
    end = np.array([(box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2])
    steps = [start + (end - start) * part for part in np.linspace(0.3, 0.9, 7)]
    return sum(other.contains(*step) for other in busy for step in steps) / len(steps)


def _text_box(note: Annotation) -> Bbox:
    """The box of the words alone, without the line to the point."""
    renderer = cast(FigureCanvasAgg, note.figure.canvas).get_renderer()
    note.update_positions(renderer)
    return super(Annotation, note).get_window_extent(renderer)


def _shared(one: Bbox, other: Bbox) -> float:
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    return float(np.maximum(width, 0) * np.maximum(height, 0))
