"""The tables of exact costs: headline, cost, structure, plain fvcore; and `build`, which makes all.

Each function takes a `View` and gives one `Table`, with a row for everything that was measured and
nothing that was not. T is the number of frames.
"""

from pks4.bench import units
from pks4.bench.report.tables import columns
from pks4.bench.report.tables.accuracy import accuracy, accuracy_frames, convergence, differences
from pks4.bench.report.tables.columns import Place
from pks4.bench.report.tables.evidence import evidence, failures
from pks4.bench.report.tables.factorial import factorials
from pks4.bench.report.tables.memory import fitting, kept, step_memory
from pks4.bench.report.tables.published import percent, published
from pks4.bench.report.tables.ranking import rankings
from pks4.bench.report.tables.sees import sees
from pks4.bench.report.tables.times import scans, streaming, time_growth, timing
from pks4.bench.stats import growth
from pks4.bench.table import Column, Table, TableCell, TableRow, part_of, table, value_of, words
from pks4.bench.view.rows import Row, Series
from pks4.bench.view.view import View

_COST = (
    Column("params_total", "parameters", unit="parameters"),
    Column("params_trainable", "trainable", unit="parameters"),
    Column("macs_forward", "forward", unit="MAC"),
    Column("macs_train", "training step", unit="MAC"),
    Column("saved_bytes", "kept for backward", unit="B"),
    Column("step_peak_bytes", "peak of a step", unit="B"),
)
_KEYS = [column.key for column in _COST]
_ONLY_WITH_ROWS = (
    "kept", "step_memory", "fit", "plain_counter", "growth", "published", "accuracy_differences",
    "accuracy_frames", "convergence", "sees", "scan", "streaming", "rankings", "factorial",
)  # fmt: skip


def build(view: View) -> list[Table]:
    """Every table of the report, in its order; some only where they have something to say."""
    costs = (headline, fitting, cost, kept, step_memory, plain_counter, published, structures)
    trained = (factorials, accuracy, differences, rankings, accuracy_frames, convergence, sees)
    measured = (timing, time_growth, scans, *trained, streaming)
    tables = [make(view) for make in (*costs, *measured, failures, evidence)]
    return [one for one in tables if one.rows or one.name not in _ONLY_WITH_ROWS]


def headline(view: View) -> Table:
    """One row per contestant, at the largest T that all of a setting's contestants share."""
    rows: list[TableRow] = []
    notes: list[str] = []
    for setting in view.cost_settings:
        frames = view.cost_frames(setting)
        series = view.series(setting, "macs_forward") | view.series(setting, "saved_bytes")
        present = [label for label in view.contestants if label in series]
        found = [_headline_row(view, Place(setting, label, frames)) for label in present]
        rows += [row for row in found if row]
        notes.append(f"{setting.title}: {_at(frames, len(present), sum(map(bool, found)))}")
    ours = view.name(view.ours) if view.ours else "PKS4"
    return table(
        name="headline",
        title="At a glance",
        note=" ".join(notes),
        columns=(
            *columns.PLACE,
            *_COST[1:],
            Column("memory_ratio", f"memory ÷ {ours}", numeric=True),
        ),
        rows=rows,
    )


def _headline_row(view: View, place: Place) -> TableRow | None:
    saved = place.find(view, "saved_bytes")
    if place.find(view, "macs_forward") is None and saved is None:
        return None
    ours = place._replace(label=view.ours).find(view, "saved_bytes")
    ratio = saved.value / ours.value if saved and ours and ours.value else None
    source = saved if ratio else None
    return {
        **columns.place_cells(view, *place),
        **columns.values(view, place, _KEYS[1:]),
        "memory_ratio": TableCell(ratio, units.times(ratio), source=source),
    }


def _at(frames: int, present: int, shown: int) -> str:
    if shown == present:
        return f"T = {frames}, the largest T measured for all {present}."
    return f"T = {frames}, measured for {shown} of {present}."


def cost(view: View) -> Table:
    """Parameters, MACs and bytes kept for backward, for every contestant, setting and T."""
    return table(
        name="cost",
        title="Exact costs",
        note="MACs are for one clip, bytes for the batch; training adds the backward pass.",
        columns=(*columns.PLACE, Column("place", "module stands"), *_COST),
        rows=columns.by_place(view, _KEYS, lambda place: _cost_row(view, place)),
    )


def _cost_row(view: View, place: Place) -> TableRow:
    params = place.find(view, "params_total")
    stands = params.evidence.get("place") if params else None
    return {"place": words(stands), **columns.values(view, place, _KEYS)}


def structures(view: View) -> Table:
    """The exact polynomial in T behind each contestant's MACs, saved bytes and peak."""
    powers = (("a", "a"), ("b", "b, per T"), ("c", "c, per T²"))
    metrics = ("macs_forward", "macs_train", "saved_bytes", "step_peak_bytes")
    return table(
        name="structure",
        title="Exact dependence on T",
        note=(
            "cost = a + b·T + c·T², exact fractions through three T, checked at every other T. "
            "Affine: c is exactly 0. The exponent is that between the two largest T, a subtracted."
        ),
        columns=(
            *columns.SERIES,
            Column("metric", "cost"),
            Column("kind", "in T"),
            *(Column(key, heading, numeric=True) for key, heading in powers),
            Column("local_exponent", "exponent at the end", numeric=True),
            Column("checked_at", "T used"),
        ),
        rows=columns.by_series(view, metrics, _structure),
    )


def _structure(metric: str, series: Series) -> TableRow | None:
    values = {t: row.value for t, row in series.items()}
    fitted = growth.exact_polynomial(values)
    if fitted is None:
        return None
    largest = series[max(series)]
    local = growth.local_exponent(values, fitted)
    coefficients = [
        TableCell(str(part), units.quantity(float(part), largest.unit), source=largest)
        for part in fitted.coefficients or ()
    ] or [TableCell()] * 3
    return {
        "metric": words(metric),
        "kind": words(fitted.kind, tone=fitted.kind),
        **dict(zip("abc", coefficients, strict=True)),
        "local_exponent": TableCell() if local is None else TableCell(local, f"{local:.3f}"),
        "checked_at": words(", ".join(map(str, fitted.frames))),
    }


_PLAIN = "macs_fvcore_plain"


def plain_counter(view: View) -> Table:
    """One row a contestant and setting where plain fvcore was asked."""
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
            *columns.PLACE,
            Column("macs", "all", unit="MAC"),
            Column("plain", "plain", unit="MAC"),
            Column("error", "error, %", numeric=True),
            Column("missed", "not counted"),
        ),
        rows=columns.by_place(view, [_PLAIN], lambda place: _plain(place.find(view, _PLAIN))),
    )


def _plain(row: Row | None) -> TableRow | None:
    macs = row.detail.get("macs") if row else None
    if row is None or not macs:
        return None
    error = row.value / macs - 1
    missed = row.detail.get("fvcore_plain_misses", {})
    names = {name: name.rpartition("::")[2].lstrip("_") for name in missed}
    not_counted = units.listed(f"{names[name]} ({calls})" for name, calls in missed.items())
    return {
        "frames": words(row.detail.get("frames", row.frames)),
        "macs": part_of(row, macs),
        "plain": value_of(row),
        "error": TableCell(error, percent(error), source=row),
        "missed": words(not_counted or None),
    }
