"""The tables of what was timed: medians, ratios with verdicts, growth with T.

The table of streams: frame after frame with a state that should not grow.
"""

import math
from collections.abc import Sequence

from pks4.bench import units
from pks4.bench.report.tables import columns
from pks4.bench.report.tables.table import Column, Entry, Line, Table, amount, number, table, text
from pks4.bench.stats import growth
from pks4.bench.stats.paired_times import LEAST_EFFECT
from pks4.bench.view.rows import Row
from pks4.bench.view.view import OK, View


def timing(view: View) -> Table:
    """Median seconds of forward and step, and paired ratios to the reference with verdicts."""
    keys = ("forward_seconds", "step_seconds", "forward_ratio", "step_ratio")
    made = [
        {
            **columns.place(setting),
            **columns.who(view, label),
            **columns.at(frames),
            **{k: number(view.find(setting, k, label, frames)) for k in keys[:2]},
            **_ratio("forward", view.find(setting, keys[2], label, frames)),
            **_ratio("step", view.find(setting, keys[3], label, frames)),
        }
        for setting, label, frames in columns.measured(view, keys)
    ]
    references = {
        str(row.detail["reference"])
        for row in view.rows
        if row.metric in keys[2:] and row.status == OK and "reference" in row.detail
    }
    told = f"; the reference is {units.listed(sorted(references))}" if references else ""
    return table(
        name="time",
        title="Wall-clock time",
        note=(
            f"Medians over rounds. Ratio: candidate ÷ reference, 95 % interval{told}. Floor: a "
            "ratio nearer to 1 than so much is called no difference; "
            f"{100 * LEAST_EFFECT:.0f} %, or more where the reference timed against itself asks it."
        ),
        columns=(
            *columns.SETTING,
            columns.TASK,
            *columns.WHO,
            columns.FRAMES,
            Column(key="forward_seconds", heading="forward", unit="s"),
            Column(key="step_seconds", heading="step", unit="s"),
            *_ratio_columns("forward"),
            *_ratio_columns("step"),
        ),
        lines=made,
    )


def time_growth(view: View) -> Table:
    """How seconds grow with frames: a + b T^p, where there are enough numbers of frames."""
    made = []
    for metric in ("forward_seconds", "step_seconds"):
        for setting in view.settings(metric):
            for label, found in view.series(setting, metric).items():
                fitted = growth.fit(
                    {t: row.detail.get("samples_seconds", [row.value]) for t, row in found.items()}
                )
                if fitted is None:
                    continue
                low, high = fitted.interval
                last = found[max(found)]
                made.append(
                    {
                        **columns.place(setting),
                        **columns.who(view, label),
                        "metric": text(metric.removesuffix("_seconds")),
                        "constant": amount(fitted.a, last),
                        "power": Entry(
                            value=fitted.p,
                            text=f"{fitted.p:.2f} [{low:.2f} to {high:.2f}]",
                            source=last,
                        ),
                        "power_low": text(low),
                        "power_high": text(high),
                        "factor": text(fitted.b),
                        "range": text(f"{fitted.frames[0]} to {fitted.frames[-1]}"),
                    }
                )
    return table(
        name="growth",
        title="Growth of times with T",
        note="seconds = a + b·T^p through medians; p with its 95 % bootstrap interval over rounds.",
        columns=(
            *columns.SETTING,
            columns.TASK,
            *columns.WHO,
            Column(key="metric", heading="operation"),
            Column(key="constant", heading="a", unit="s"),
            Column(key="power", heading="p", numeric=True),
            Column(key="power_low", heading="low", raw_only=True),
            Column(key="power_high", heading="high", raw_only=True),
            Column(key="factor", heading="b", raw_only=True),
            Column(key="range", heading="T"),
        ),
        lines=made,
    )


def noise_floor(row: Row | None) -> float | None:
    """How far from 1 a ratio must be to count, as a fraction; None where the record has no floor.

    `least_effect` is |ln ratio|, what the session's A/A arm asks for (`stats/paired_times.py`).
    """
    least = row.detail.get("least_effect") if row else None
    return None if least is None else math.expm1(least)


def _ratio_columns(stem: str) -> Sequence[Column]:
    return (
        Column(key=f"{stem}_ratio", heading=f"{stem} ratio", numeric=True),
        Column(key=f"{stem}_low", heading="low", raw_only=True),
        Column(key=f"{stem}_high", heading="high", raw_only=True),
        Column(key=f"{stem}_floor", heading=f"{stem} floor, %", numeric=True),
        Column(key=f"{stem}_verdict", heading=f"{stem} verdict"),
    )


def _ratio(stem: str, row: Row | None) -> Line:
    ends = row.interval() if row else None
    low, high = ends or (None, None)
    told = f" [{units.ratio_interval(ends)}]" if ends else ""
    shown = f"{row.value:.2f}{told}" if row else None
    verdict = row.detail.get("verdict") if row else None
    floor = noise_floor(row)
    return {
        f"{stem}_ratio": number(row, shown),
        f"{stem}_low": text(low),
        f"{stem}_high": text(high),
        f"{stem}_floor": Entry(
            value=floor, text=units.MISSING if floor is None else f"{100 * floor:.1f}"
        ),
        f"{stem}_verdict": Entry(value=verdict, text=verdict or units.MISSING, tone=verdict),
    }


_KEYS = (
    "streaming_deviation", "streaming_state_bytes", "streaming_bytes_per_frame",
    "streaming_frame_seconds", "streaming_late_ratio",
)  # fmt: skip


def streaming(view: View) -> Table:
    """Who can be fed one frame at a time, what that costs, and whether the cost grows."""
    made = []
    for setting, label, frames in columns.measured(view, _KEYS):
        rows = {key: view.find(setting, key, label, frames) for key in _KEYS}
        deviation, late = rows["streaming_deviation"], rows["streaming_late_ratio"]
        ratio, verdict = Entry(), text(None)
        if late is not None:
            low, high = late.detail["interval"]
            words = f"{late.value:.2f} [{low:.2f} to {high:.2f}]"
            ratio = Entry(value=late.value, text=words, source=late)
            verdict = text(late.detail["verdict"])
        made.append(
            {
                **columns.place(setting),
                **columns.who(view, label),
                **{key: number(rows[key]) for key in _KEYS[1:4]},
                "streaming_deviation": number(
                    deviation, f"{deviation.value:.1e}" if deviation else None
                ),
                "streaming_late_ratio": ratio,
                "verdict": verdict,
                "last": text(late.detail["late_frame"] if late else None),
            }
        )
    return table(
        name="streaming",
        title="One frame at a time",
        note=(
            "Difference to the whole clip, of the largest logit, with the gate open; at most 1e-5 "
            "is rounding. Late ÷ early: time of the last frame over that of the tenth, 95 % "
            "interval. Who takes whole clips only is among the failures, with the reason."
        ),
        columns=(
            *columns.SETTING,
            columns.TASK,
            *columns.WHO,
            Column(key="streaming_deviation", heading="difference", numeric=True),
            Column(key="streaming_state_bytes", heading="state", unit="B"),
            Column(key="streaming_bytes_per_frame", heading="per added frame", unit="B"),
            Column(key="streaming_frame_seconds", heading="a late frame", unit="s"),
            Column(key="streaming_late_ratio", heading="late ÷ early", numeric=True),
            Column(key="verdict", heading="time is"),
            Column(key="last", heading="last frame", numeric=True),
        ),
        lines=made,
    )
