"""The tables of exact costs: headline, cost, structure, plain fvcore; and `build`, which makes all.

Each function takes a `View` and gives one `Table`, with a line for everything that was measured and
nothing that was not. T is the number of frames.
"""

from collections.abc import Mapping

from pks4.bench import units
from pks4.bench.report.tables import columns
from pks4.bench.report.tables.accuracy import accuracy, accuracy_frames, convergence, differences
from pks4.bench.report.tables.evidence import evidence, failures
from pks4.bench.report.tables.memory import fitting, kept, step_memory
from pks4.bench.report.tables.published import percent, published
from pks4.bench.report.tables.table import Column, Entry, Line, Table, amount, number, table, text
from pks4.bench.report.tables.times import streaming, time_growth, timing
from pks4.bench.stats import structure
from pks4.bench.view.rows import Row, Setting
from pks4.bench.view.view import View

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
    measured = (timing, time_growth, *trained, streaming)
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
            *columns.SETTING,
            columns.TASK,
            *columns.WHO,
            columns.FRAMES,
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
        **columns.place(setting),
        **columns.who(view, label),
        **columns.at(frames),
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
            **columns.place(setting),
            **columns.who(view, label),
            **columns.at(frames),
            **{c.key: number(view.find(setting, c.key, label, frames)) for c in _COST},
        }
        for setting, label, frames in columns.measured(view, [c.key for c in _COST])
    ]
    return table(
        name="cost",
        title="Exact costs",
        note="MACs are for one clip, bytes for the batch; training adds the backward pass.",
        columns=(*columns.SETTING, columns.TASK, *columns.WHO, columns.FRAMES, *_COST),
        lines=made,
    )


def structures(view: View) -> Table:
    """The exact polynomial in T behind each contestant's MACs, saved bytes and peak."""
    made = [
        {**columns.place(setting), **columns.who(view, label), **_fields(metric, fitted, found)}
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
            *columns.SETTING,
            columns.TASK,
            *columns.WHO,
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


METRIC = "macs_fvcore_plain"


def plain_counter(view: View) -> Table:
    """One line a contestant and setting where plain fvcore was asked."""
    made = [
        _line(view, setting, label, row)
        for setting, label, frames in columns.measured(view, [METRIC])
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
            *columns.SETTING,
            columns.TASK,
            *columns.WHO,
            columns.FRAMES,
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
        **columns.place(setting),
        **columns.who(view, label),
        **columns.at(row.detail.get("frames", row.frames)),
        "macs": amount(macs, row),
        "plain": number(row),
        "error": Entry(value=error, text=percent(error), source=row),
        "missed": text(told or None),
    }
