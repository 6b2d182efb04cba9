"""The table of what fits: the most measured frames whose training step stays within a memory.

Nothing is simulated here. The peaks are the run's own `step_memory` records, so an answer is one of
the T that were measured; `pks4-bench fit` finds the exact one, with the same share kept free.

The tables that say where memory goes: what is kept for backward, and a training step's peak.
"""

from collections.abc import Mapping

from pks4.bench.report.tables import columns
from pks4.bench.report.tables.table import Column, Entry, Line, Table, amount, number, table, text
from pks4.bench.view.rows import Row, Series, Setting
from pks4.bench.view.view import View
from pks4.macs import STAGES
from pks4.simulate.what_fits import RESERVE, count

MEMORIES = (8, 16, 24, 40, 80)  # GiB, as accelerators are sold
METRIC = "step_peak_bytes"


def fitting(view: View) -> Table:
    """One line a contestant and setting: the most frames in each memory, of those measured."""
    made = [
        _line(view, setting, label, found)
        for setting in view.settings(METRIC)
        for label, found in view.series(setting, METRIC).items()
    ]
    return table(
        name="fit",
        title="What fits in memory",
        note=(
            "The most frames, of the T measured, whose simulated training step fits when "
            f"{100 * RESERVE:g} % of the memory is kept free; what allocators and libraries take "
            "comes out of it. ≥: the largest T measured still fits. 0: the smallest does not. "
            "Between two T, pks4-bench fit finds the exact number."
        ),
        columns=(
            *columns.SETTING,
            columns.TASK,
            *columns.WHO,
            *(
                Column(key=f"frames_{size}gib", heading=f"{size} GiB", numeric=True)
                for size in MEMORIES
            ),
            Column(key="measured", heading="T measured", context=True),
            Column(key="target", heading="target", context=True),
        ),
        lines=made,
    )


def most_frames(found: Mapping[int, Row], memory: int) -> int:
    """The largest T measured whose peak leaves the reserve of `memory` bytes free; 0: none."""
    limit = int(memory * (1 - RESERVE))
    return max((t for t, row in found.items() if row.value <= limit), default=0)


def _line(view: View, setting: Setting, label: str, found: Series) -> Line:
    targets = {row.evidence.get("target") for row in found.values()}
    return {
        **columns.place(setting),
        **columns.who(view, label),
        **{f"frames_{size}gib": _frames(found, size) for size in MEMORIES},
        "measured": text(", ".join(map(str, found))),
        "target": text(targets.pop() if len(targets) == 1 else None),
    }


def _frames(found: Series, size: int) -> Entry:
    most = most_frames(found, size * 2**30)
    return Entry(value=most, text=count(most, max(found)), source=found[most or min(found)])


_PARTS = ("weights", "optimizer", "gradients", "inputs", "copies", "activations", "temporaries")


def kept(view: View) -> Table:
    """What is kept for backward, by stage, for every contestant whose file names its stages."""
    made = []
    for setting, label, frames in columns.measured(view, ["saved_bytes"]):
        row = view.find(setting, "saved_bytes", label, frames)
        by_stage = row.detail.get("by_stage", {}) if row else {}
        if row is None or not set(by_stage) <= set(STAGES):
            continue
        made.append(
            {
                **columns.place(setting),
                **columns.who(view, label),
                **columns.at(frames),
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
            *columns.SETTING,
            columns.TASK,
            *columns.WHO,
            columns.FRAMES,
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
    for setting, label, frames in columns.measured(view, ["step_peak_bytes"]):
        row = view.find(setting, "step_peak_bytes", label, frames)
        if row is None:
            continue
        parts = row.detail["parts"]
        made.append(
            {
                **columns.place(setting),
                **columns.who(view, label),
                **columns.at(frames),
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
            *columns.SETTING,
            columns.TASK,
            *columns.WHO,
            columns.FRAMES,
            Column(key="step_peak_bytes", heading="peak", unit="B"),
            *(Column(key=name, heading=name, unit="B") for name in _PARTS),
            Column(key="phase", heading="reached in"),
            Column(key="target", heading="target", context=True),
        ),
        lines=made,
    )
