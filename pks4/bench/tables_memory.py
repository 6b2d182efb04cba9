"""The tables that say where memory goes: what is kept for backward, and a training step's peak."""

from pks4.bench import lines
from pks4.bench.sheet import Column, Table, amount, number, table, text
from pks4.bench.view import View
from pks4.cost import STAGES

_PARTS = ("weights", "optimizer", "gradients", "inputs", "copies", "activations", "temporaries")


def kept(view: View) -> Table:
    """What is kept for backward, by stage, for every contestant whose file names its stages."""
    made = []
    for setting, label, frames in lines.measured(view, ["saved_bytes"]):
        row = view.find(setting, "saved_bytes", label, frames)
        by_stage = row.detail.get("by_stage", {}) if row else {}
        if row is None or not set(by_stage) <= set(STAGES):
            continue
        made.append(
            {
                **lines.place(setting),
                **lines.who(view, label),
                **lines.at(frames),
                "saved_bytes": number(row),
                **{name: amount(by_stage.get(name, 0), row) for name in STAGES},
                "weight_copies": amount(row.detail.get("weight_copies", 0), row),
                "target": text(row.evidence.get("target")),
            }
        )
    return table(
        name="kept",
        title="Kept for backward, by stage",
        note=(
            "Temporal: what a contestant adds to its 2D backbone, as its file says. Attention over "
            "space and time at once is the backbone's. Copies: weights that autocast lowers, "
            "within the sum."
        ),
        columns=(
            *lines.SETTING,
            lines.TASK,
            *lines.WHO,
            lines.FRAMES,
            Column(key="saved_bytes", heading="kept", unit="B"),
            *(Column(key=name, heading=name, unit="B") for name in STAGES),
            Column(key="weight_copies", heading="of it copies", unit="B"),
            Column(key="target", heading="target", context=True),
        ),
        lines=made,
    )


def step_memory(view: View) -> Table:
    """What the peak of a training step is made of, for every contestant, setting and T."""
    made = []
    for setting, label, frames in lines.measured(view, ["step_peak_bytes"]):
        row = view.find(setting, "step_peak_bytes", label, frames)
        if row is None:
            continue
        parts = row.detail["parts"]
        made.append(
            {
                **lines.place(setting),
                **lines.who(view, label),
                **lines.at(frames),
                "step_peak_bytes": number(row),
                **{name: amount(parts.get(name, 0), row) for name in _PARTS},
                "phase": text(row.detail["phase"]),
                "target": text(row.evidence.get("target")),
            }
        )
    return table(
        name="step_memory",
        title="Memory of a training step",
        note=(
            "Simulated: every storage from birth to death, at the moment with the most bytes. "
            "Optimizer: AdamW's two moments. Copies: weights that autocast lowers. Allocators and "
            "libraries come on top."
        ),
        columns=(
            *lines.SETTING,
            lines.TASK,
            *lines.WHO,
            lines.FRAMES,
            Column(key="step_peak_bytes", heading="peak", unit="B"),
            *(Column(key=name, heading=name, unit="B") for name in _PARTS),
            Column(key="phase", heading="reached in"),
            Column(key="target", heading="target", context=True),
        ),
        lines=made,
    )
