"""The table of plain fvcore: what the usual counter says as it comes, beside what must be counted.

Its number is a record of its own (`macs_fvcore_plain`), taken at the few frames at which all
counters are held against each other.
"""

from pks4.bench import lines, units
from pks4.bench.sheet import Column, Entry, Line, Table, amount, number, table, text
from pks4.bench.tables_published import percent
from pks4.bench.view import Row, Setting, View

METRIC = "macs_fvcore_plain"


def plain_counter(view: View) -> Table:
    """One line a contestant and setting where plain fvcore was asked."""
    made = [
        _line(view, setting, label, row)
        for setting, label, frames in lines.measured(view, [METRIC])
        if (row := view.find(setting, METRIC, label, frames)) and row.detail.get("macs")
    ]
    return table(
        name="plain_counter",
        title="What plain fvcore counts",
        note=(
            "Forward MACs at the T at which the counters were held against each other. All: fvcore "
            "with handles for fused attention, correlation and the scan, equal to torch's counter "
            "and the closed form. Plain: without them. It has no number for the operators named, "
            "and counts norms and pooling, which rule macs/v1 leaves out: so the error is net, and "
            "can be above zero. More frames miss more where attention spans space and time at once."
        ),
        columns=(
            *lines.SETTING,
            lines.TASK,
            *lines.WHO,
            lines.FRAMES,
            Column(key="macs", heading="all", unit="MAC"),
            Column(key="plain", heading="plain", unit="MAC"),
            Column(key="error", heading="error, %", numeric=True),
            Column(key="missed", heading="not counted"),
        ),
        lines=made,
    )


def _line(view: View, setting: Setting, label: str, row: Row) -> Line:
    macs = row.detail["macs"]
    error = row.value / macs - 1
    missed = row.detail.get("fvcore_plain_misses", {})
    names = {name: name.rpartition("::")[2].lstrip("_") for name in missed}
    told = units.listed(f"{names[name]} ({calls})" for name, calls in missed.items())
    return {
        **lines.place(setting),
        **lines.who(view, label),
        **lines.at(row.detail.get("frames", row.frames)),
        "macs": amount(macs, row),
        "plain": number(row),
        "error": Entry(value=error, text=percent(error), source=row),
        "missed": text(told or None),
    }
