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
from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator

from pks4.bench import units
from pks4.bench.report.figures import common, drawing
from pks4.bench.report.figures.charts import Cast
from pks4.bench.report.figures.common import Omitted, Plot
from pks4.bench.report.figures.palette import INK, MUTED
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

Stacks = dict[int, dict[str, float]]  # T -> stage -> bytes for each frame


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
    told = {label: own for label, own in rows.items() if all(map(_has_stages, own))}
    if len(told) < 2:
        return Omitted(title=title, why="fewer than two contestants name their stages")
    stacks = {label: {row.frames: _stack(row) for row in own} for label, own in told.items()}
    how = common.measured_how([row for own in told.values() for row in own])
    last = {label: (max(own), sum(own[max(own)].values())) for label, own in stacks.items()}
    ends = sorted((kept, view.name(label), frames) for label, (frames, kept) in last.items())
    return Plot(
        name=common.stem("stages", setting),
        title=_TITLE,
        caption=(
            f"{_TITLE}; {setting.title}; {how}. Bytes kept for the backward pass, divided by T: "
            "level bars are a cost in proportion to T. Above the last bar its height. Temporal: "
            "what a contestant adds to its 2D backbone, as its file says."
            f"{_silent(view, [label for label in rows if label not in told])}"
        ),
        alt=(
            f"Stacked bars for {len(told)} contestants. Kept for each frame at most T: from "
            f"{units.quantity(ends[0][0], 'B')} ({ends[0][1]}, T = {ends[0][2]}) to "
            f"{units.quantity(ends[-1][0], 'B')} ({ends[-1][1]}, T = {ends[-1][2]})."
        ),
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


def _page(view: View, stacks: Mapping[str, Stacks], subtitle: str) -> Figure:
    who = common.cast(view)
    columns = min(_COLUMNS, len(stacks))
    lines = -(-len(stacks) // columns)
    width = max(7.2, _LEFT + columns * (_PANEL[0] + _GAP[0]))
    height = _TOP + lines * (_PANEL[1] + _GAP[1]) + _BELOW
    tallest = max(sum(one.values()) for own in stacks.values() for one in own.values())
    scale = units.scale_for([tallest], "B")
    with drawing.style(_TITLE):
        figure = drawing.page(width, height)
        for place, (label, own) in enumerate(stacks.items()):
            line, column = divmod(place, columns)
            axes = figure.add_axes(
                (
                    (_LEFT + column * (_PANEL[0] + _GAP[0])) / width,
                    1 - (_TOP + line * (_PANEL[1] + _GAP[1]) + _PANEL[1]) / height,
                    _PANEL[0] / width, _PANEL[1] / height,
                )
            )  # fmt: skip
            highest = 1.16 * tallest / scale.factor
            _panel(axes, own, label, who, scale, highest * _INVISIBLE)
            axes.set_ylim(0, highest)
            lowest = place >= len(stacks) - columns
            axes.tick_params(labelleft=column == 0, labelbottom=lowest)
            if column == 0:
                axes.set_ylabel(f"{scale.symbol} a frame", size=7.5)
            if lowest:
                axes.set_xlabel("frames T", size=7.5)
        drawing.heading(figure, _TITLE, subtitle, 0.2)
        _key(figure)
    return figure


def _panel(
    axes: Axes, own: Stacks, label: str, who: Cast, scale: units.Scale, least: float
) -> None:
    """Stacked bars; parts of no more than `least`, which viewers would draw as a hairline, not."""
    drawing.clean(axes)
    places = range(len(own))
    below = [0.0] * len(own)
    for stage in STAGES:
        parts = [one[stage] / scale.factor for one in own.values()]
        seen = [place for place in places if parts[place] > least]
        heights, bottoms = ([values[place] for place in seen] for values in (parts, below))
        axes.bar(seen, heights, 0.72, bottoms, color=COLOURS[stage], linewidth=0)
        below = [low + part for low, part in zip(below, parts, strict=True)]
    axes.annotate(
        units.significant(below[-1]), (len(own) - 1, below[-1]), xytext=(0, 2),
        textcoords="offset points", ha="center", size=7, color=MUTED,
    )  # fmt: skip
    axes.xaxis.set_major_locator(FixedLocator(list(places)))
    axes.xaxis.set_major_formatter(FixedFormatter([str(t) for t in own]))
    axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    axes.tick_params(labelsize=6.5, axis="both")
    look = who.looks[label]
    axes.set_title(who.names[label], loc="left", size=8, color=look.ink, weight=look.weight, pad=4)


def _key(figure: Figure) -> None:
    width, height = figure.get_size_inches()
    figure.legend(
        [Patch(color=COLOURS[stage]) for stage in STAGES], [*STAGES], loc="center left",
        bbox_to_anchor=(0.2 / width, 1 - 0.74 / height), ncols=len(STAGES), frameon=False,
        borderpad=0, borderaxespad=0, handlelength=1.2, columnspacing=1.6, fontsize=8.5,
        labelcolor=INK,
    )  # fmt: skip


def _data(view: View, stacks: Mapping[str, Stacks]) -> pd.DataFrame:
    lines = [
        {"label": label, "contestant": view.name(label), "frames": frames, "stage": stage,
         "bytes_a_frame": kept}
        for label, own in stacks.items()
        for frames, one in own.items()
        for stage, kept in one.items()
    ]  # fmt: skip
    return pd.DataFrame(lines, dtype=object)
