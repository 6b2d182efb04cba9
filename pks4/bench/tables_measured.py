"""The tables of what was timed: medians, ratios with verdicts, growth with T."""

import math
from collections.abc import Sequence

from pks4.bench import lines, power, units
from pks4.bench.pairing import LEAST_EFFECT
from pks4.bench.sheet import Column, Entry, Line, Table, amount, number, table, text
from pks4.bench.view import OK, Row, View


def timing(view: View) -> Table:
    """Median seconds of forward and step, and paired ratios to the reference with verdicts."""
    keys = ("forward_seconds", "step_seconds", "forward_ratio", "step_ratio")
    made = [
        {
            **lines.place(setting),
            **lines.who(view, label),
            **lines.at(frames),
            **{k: number(view.find(setting, k, label, frames)) for k in keys[:2]},
            **_ratio("forward", view.find(setting, keys[2], label, frames)),
            **_ratio("step", view.find(setting, keys[3], label, frames)),
        }
        for setting, label, frames in lines.measured(view, keys)
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
            *lines.SETTING,
            lines.TASK,
            *lines.WHO,
            lines.FRAMES,
            Column(key="forward_seconds", heading="forward", unit="s"),
            Column(key="step_seconds", heading="step", unit="s"),
            *_ratio_columns("forward"),
            *_ratio_columns("step"),
        ),
        lines=made,
    )


def growth(view: View) -> Table:
    """How seconds grow with frames: a + b T^p, where there are enough numbers of frames."""
    made = []
    for metric in ("forward_seconds", "step_seconds"):
        for setting in view.settings(metric):
            for label, found in view.series(setting, metric).items():
                fitted = power.fit(
                    {t: row.detail.get("samples_seconds", [row.value]) for t, row in found.items()}
                )
                if fitted is None:
                    continue
                low, high = fitted.interval
                last = found[max(found)]
                made.append(
                    {
                        **lines.place(setting),
                        **lines.who(view, label),
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
            *lines.SETTING,
            lines.TASK,
            *lines.WHO,
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

    `least_effect` is |ln ratio|, what the session's A/A arm asks for (`pairing.py`).
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
