"""The figure of where activation memory goes: bytes kept for each frame, by stage, against T.

Kept bytes grow with T, so that in a stack of them the last bar would hide all others; divided by T,
a bar that stays level is a cost in proportion, and one that rises is more. One panel a contestant,
all on one scale.
"""

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from pks4.bench import units
from pks4.bench.report.figures import charts, common, drawing
from pks4.bench.report.figures.common import Cast, Omitted, Plot
from pks4.bench.report.figures.palette import INK
from pks4.bench.view.rows import Row, Setting
from pks4.bench.view.view import View, frame_counts
from pks4.macs import STAGES

METRIC = "saved_bytes"
# Light, dark, middle: apart for colour-blind readers and on paper without colours.
COLOURS = dict(zip(STAGES, ("#C9CED6", "#3B4252", "#E6A532"), strict=True))
_TITLE = "Activation memory by stage, for each frame"
_COLUMNS = 4
_PANEL, _GAP, _LEFT, _TOP = (2.35, 0.95), (0.25, 0.45), 0.65, 1.2  # inches
_BELOW = 0.2  # inches, for the last row's axis
_INVISIBLE = 1 / 500  # of the axis: a part so low cannot be seen

Stack = dict[int, dict[str, float]]  # T -> stage -> bytes for each frame


def build(view: View) -> list[Plot | Omitted]:
    """The figure of each setting whose contestants name their stages at two T or more."""
    settings = view.settings(METRIC)
    if not settings:
        return [Omitted(title=_TITLE, why=f"no record of {METRIC}")]
    return [_plot(view, setting) for setting in settings]


def _plot(view: View, setting: Setting) -> Plot | Omitted:
    title = f"{_TITLE} ({setting.title})"
    series = view.series(setting, METRIC)
    if len(frame_counts(series)) < 2:
        return Omitted(title=title, why="fewer than two frame counts")
    rows = {label: [*found.values()] for label, found in series.items()}
    staged = {label: found for label, found in rows.items() if all(map(_has_stages, found))}
    if len(staged) < 2:
        return Omitted(title=title, why="fewer than two contestants name their stages")
    stacks = {k: {row.frames: _stack(row) for row in found} for k, found in staged.items()}
    how = common.measured_how([row for found in staged.values() for row in found])
    last = [(label, max(stack)) for label, stack in stacks.items()]
    ends = [(sum(stacks[k][t].values()), f"{view.name(k)}, T = {t}") for k, t in last]
    kept = common.lowest_to_highest(ends, lambda value: units.quantity(value, "B"))
    return Plot(
        name=common.stem("stages", setting),
        title=_TITLE,
        caption=(
            f"{_TITLE}; {setting.title}; {how}. Bytes kept for the backward pass, divided by T: "
            "level bars are a cost in proportion to T. Above the last bar its height. Temporal: "
            "what a contestant adds to its 2D backbone, as its file says."
            f"{_silent(view, [label for label in rows if label not in staged])}"
        ),
        alt=(f"Stacked bars for {len(staged)} contestants. Kept for each frame at most T: {kept}."),
        figure=_page(view, stacks, f"{setting.title}; {how}"),
        data=_data(view, stacks),
    )


def _has_stages(row: Row) -> bool:
    return set(row.detail.get("by_stage") or {"": 0}) <= set(STAGES) or row.value == 0


def _stack(row: Row) -> dict[str, float]:
    kept = row.detail.get("by_stage") or {}
    return {stage: kept.get(stage, 0) / row.frames for stage in STAGES}


def _silent(view: View, left_out: list[str]) -> str:
    names = units.listed(view.name(label) for label in left_out)
    return f" Without stages in their file: {names}." if names else ""


def _page(view: View, stacks: Mapping[str, Stack], subtitle: str) -> Figure:
    who = common.cast(view)
    columns = min(_COLUMNS, len(stacks))
    lines = -(-len(stacks) // columns)
    width = max(7.2, _LEFT + columns * (_PANEL[0] + _GAP[0]))
    height = _TOP + lines * (_PANEL[1] + _GAP[1]) + _BELOW
    tallest = max(sum(kept.values()) for stack in stacks.values() for kept in stack.values())
    scale = units.scale_for([tallest], "B")
    highest = 1.16 * tallest / scale.factor
    with common.page(view, _TITLE, subtitle, (width, height), ()) as figure:
        for place, (label, stack) in enumerate(stacks.items()):
            line, column = divmod(place, columns)
            left = _LEFT + column * (_PANEL[0] + _GAP[0])
            top = _TOP + line * (_PANEL[1] + _GAP[1])
            axes = common.panel(figure, left, top, *_PANEL)
            _panel(axes, stack, label, who, scale, highest * _INVISIBLE)
            axes.set_ylim(0, highest)
            lowest = place >= len(stacks) - columns
            axes.tick_params(labelleft=column == 0, labelbottom=lowest)
            if column == 0:
                axes.set_ylabel(f"{scale.symbol} a frame", size=7.5)
            if lowest:
                axes.set_xlabel("frames T", size=7.5)
        patches = [Patch(color=COLOURS[stage]) for stage in STAGES]
        drawing.key(figure, patches, STAGES, common.EDGE, 0.74, handlelength=1.2, labelcolor=INK)
    return figure


def _panel(
    axes: Axes, stack: Stack, label: str, who: Cast, scale: units.Scale, least: float
) -> None:
    """Stacked bars; parts of no more than `least`, which viewers would draw as a hairline, not."""
    drawing.clean(axes)
    places = range(len(stack))
    below = [0.0] * len(stack)
    for stage in STAGES:
        parts = [one[stage] / scale.factor for one in stack.values()]
        seen = [place for place in places if parts[place] > least]
        heights, bottoms = ([values[place] for place in seen] for values in (parts, below))
        axes.bar(seen, heights, 0.72, bottoms, color=COLOURS[stage], linewidth=0)
        below = [low + part for low, part in zip(below, parts, strict=True)]
    top = (len(stack) - 1, below[-1])
    charts.note(axes, units.significant(below[-1]), top, (0, 2), ha="center", size=7)
    drawing.ticks(axes.xaxis, places, map(str, stack))
    axes.yaxis.set_major_locator(drawing.round_locator(4))
    axes.tick_params(labelsize=6.5, axis="both")
    look = who.looks[label]
    axes.set_title(who.names[label], loc="left", size=8, color=look.ink, weight=look.weight, pad=4)


def _data(view: View, stacks: Mapping[str, Stack]) -> pd.DataFrame:
    rows = [
        {"label": label, "contestant": view.name(label), "frames": frames, "stage": stage,
         "bytes_a_frame": kept}
        for label, stack in stacks.items()
        for frames, stages in stack.items()
        for stage, kept in stages.items()
    ]  # fmt: skip
    return pd.DataFrame(rows, dtype=object)
