"""The table of what fits: the most measured frames whose training step stays within a memory.

Nothing is simulated here. The peaks are the run's own `step_memory` records, so an answer is one of
the T that were measured; `pks4-bench fit` finds the exact one, with the same share kept free.
"""

from collections.abc import Mapping

from pks4.bench import lines
from pks4.bench.fit import RESERVE, count
from pks4.bench.sheet import Column, Entry, Line, Table, table, text
from pks4.bench.view import Row, Series, Setting, View

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
            *lines.SETTING,
            lines.TASK,
            *lines.WHO,
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
        **lines.place(setting),
        **lines.who(view, label),
        **{f"frames_{size}gib": _frames(found, size) for size in MEMORIES},
        "measured": text(", ".join(map(str, found))),
        "target": text(targets.pop() if len(targets) == 1 else None),
    }


def _frames(found: Series, size: int) -> Entry:
    most = most_frames(found, size * 2**30)
    return Entry(value=most, text=count(most, max(found)), source=found[most or min(found)])
