"""The tables of a report, and those of them that hold exact costs: headline, cost, structure.

Each function takes a `View` and gives one `Table`, with a line for everything that was measured and
nothing that was not. T is the number of frames throughout. Where memory goes is told in
`tables_memory.py`, what fits in `tables_fit.py`, plain fvcore in `tables_counters.py`, time in
`tables_measured.py`, accuracy in `tables_accuracy.py`, `tables_convergence.py` and
`tables_frames.py`, published numbers in `tables_published.py`, failures and evidence in
`tables_evidence.py`.
"""

from collections.abc import Mapping

from pks4.bench import lines, structure, units
from pks4.bench.sheet import Column, Entry, Line, Table, number, table, text
from pks4.bench.tables_accuracy import accuracy, differences
from pks4.bench.tables_convergence import convergence
from pks4.bench.tables_counters import plain_counter
from pks4.bench.tables_evidence import evidence, failures
from pks4.bench.tables_fit import fitting
from pks4.bench.tables_frames import accuracy_frames
from pks4.bench.tables_measured import growth, timing
from pks4.bench.tables_memory import kept, step_memory
from pks4.bench.tables_published import published
from pks4.bench.tables_streaming import streaming
from pks4.bench.view import Row, Setting, View

_COST = (
    Column(key="params_total", heading="parameters", unit="parameters"),
    Column(key="params_trainable", heading="trainable", unit="parameters"),
    Column(key="macs_forward", heading="forward", unit="MAC"),
    Column(key="macs_train", heading="training step", unit="MAC"),
    Column(key="saved_bytes", heading="kept for backward", unit="B"),
    Column(key="step_peak_bytes", heading="peak of a step", unit="B"),
)
_ONLY_WITH_LINES = (
    "kept",
    "step_memory",
    "fit",
    "plain_counter",
    "growth",
    "published",
    "accuracy_differences",
    "accuracy_frames",
    "convergence",
    "streaming",
)


def build(view: View) -> list[Table]:
    """Every table of the report, in its order; some only where they have something to say."""
    costs = (headline, fitting, cost, kept, step_memory, plain_counter, published, structures)
    trained = (accuracy, differences, accuracy_frames, convergence)
    measured = (timing, growth, *trained, streaming)
    made = [make(view) for make in (*costs, *measured, failures, evidence)]
    return [one for one in made if one.lines or one.name not in _ONLY_WITH_LINES]


def headline(view: View) -> Table:
    """One line per contestant, at the largest T that all of a setting's contestants share."""
    made: list[Line] = []
    notes: list[str] = []
    for setting in view.cost_settings:
        frames = view.cost_frames(setting)
        series = view.series(setting, "macs_forward") | view.series(setting, "saved_bytes")
        present = [label for label in view.contestants if label in series]
        found = [_headline_line(view, setting, label, frames) for label in present]
        made += [line for line in found if line]
        notes.append(f"{setting.title}: {_at(frames, len(present), sum(map(bool, found)))}")
    reference = view.name(view.reference) if view.reference else "PKS4"
    return table(
        name="headline",
        title="At a glance",
        note=" ".join(notes),
        columns=(
            *lines.SETTING,
            lines.TASK,
            *lines.WHO,
            lines.FRAMES,
            *_COST[1:],
            Column(key="memory_ratio", heading=f"memory ÷ {reference}", numeric=True),
        ),
        lines=made,
    )


def _headline_line(view: View, setting: Setting, label: str, frames: int) -> Line | None:
    found = {c.key: view.find(setting, c.key, label, frames) for c in _COST[1:]}
    if found["macs_forward"] is None and found["saved_bytes"] is None:
        return None
    own = found["saved_bytes"]
    base = view.find(setting, "saved_bytes", view.reference, frames) if view.reference else None
    ratio = own.value / base.value if own and base and base.value else None
    return {
        **lines.place(setting),
        **lines.who(view, label),
        **lines.at(frames),
        **{key: number(row) if row else Entry() for key, row in found.items()},
        "memory_ratio": Entry(value=ratio, text=units.times(ratio), source=own if ratio else None),
    }


def _at(frames: int, present: int, shown: int) -> str:
    if shown == present:
        return f"T = {frames}, the largest T measured for all {present}."
    return f"T = {frames}, measured for {shown} of {present}."


def cost(view: View) -> Table:
    """Parameters, MACs and bytes kept for backward, for every contestant, setting and T."""
    made = [
        {
            **lines.place(setting),
            **lines.who(view, label),
            **lines.at(frames),
            **{c.key: number(view.find(setting, c.key, label, frames)) for c in _COST},
        }
        for setting, label, frames in lines.measured(view, [c.key for c in _COST])
    ]
    return table(
        name="cost",
        title="Exact costs",
        note="MACs are for one clip, bytes for the batch; training adds the backward pass.",
        columns=(*lines.SETTING, lines.TASK, *lines.WHO, lines.FRAMES, *_COST),
        lines=made,
    )


def structures(view: View) -> Table:
    """The exact polynomial in T behind each contestant's MACs, saved bytes and peak."""
    made = [
        {**lines.place(setting), **lines.who(view, label), **_fields(metric, fitted, found)}
        for metric in ("macs_forward", "macs_train", "saved_bytes", "step_peak_bytes")
        for setting in view.settings(metric)
        for label, found in view.series(setting, metric).items()
        if (fitted := structure.fit({t: row.value for t, row in found.items()})) is not None
    ]
    powers = (("a", "a"), ("b", "b, per T"), ("c", "c, per T²"))
    return table(
        name="structure",
        title="Exact dependence on T",
        note=(
            "cost = a + b·T + c·T², exact fractions through three T, checked at every other T. "
            "Affine: c is exactly 0. The exponent is that between the two largest T, a subtracted."
        ),
        columns=(
            *lines.SETTING,
            lines.TASK,
            *lines.WHO,
            Column(key="metric", heading="cost"),
            Column(key="kind", heading="in T"),
            *(Column(key=key, heading=heading, numeric=True) for key, heading in powers),
            Column(key="local_exponent", heading="exponent at the end", numeric=True),
            Column(key="checked_at", heading="T used"),
        ),
        lines=made,
    )


def _fields(metric: str, fitted: structure.Structure, found: Mapping[int, Row]) -> Line:
    largest = found[max(found)]
    coefficients = fitted.coefficients or (None, None, None)
    local = structure.local_exponent({t: row.value for t, row in found.items()}, fitted)
    shown = [
        Entry()
        if part is None
        else Entry(value=str(part), text=units.quantity(float(part), largest.unit), source=largest)
        for part in coefficients
    ]
    return {
        "metric": text(metric),
        "kind": Entry(value=fitted.kind, text=fitted.kind, tone=fitted.kind),
        **dict(zip("abc", shown, strict=True)),
        "local_exponent": text(None) if local is None else Entry(value=local, text=f"{local:.3f}"),
        "checked_at": text(", ".join(map(str, fitted.frames))),
    }
