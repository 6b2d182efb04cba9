"""The table of streams: frame after frame with a state that should not grow."""

from pks4.bench import lines
from pks4.bench.sheet import Column, Entry, Table, number, table, text
from pks4.bench.view import View

_KEYS = (
    "streaming_deviation", "streaming_state_bytes", "streaming_bytes_per_frame",
    "streaming_frame_seconds", "streaming_late_ratio",
)  # fmt: skip


def streaming(view: View) -> Table:
    """Who can be fed one frame at a time, what that costs, and whether the cost grows."""
    made = []
    for setting, label, frames in lines.measured(view, _KEYS):
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
                **lines.place(setting),
                **lines.who(view, label),
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
            *lines.SETTING,
            lines.TASK,
            *lines.WHO,
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
