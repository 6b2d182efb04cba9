"""The tables behind the numbers: what failed and why, and how each measure was made."""

from typing import Any

from pks4.bench.report.tables.table import Column, Entry, Table, table, text
from pks4.bench.view.rows import Row
from pks4.bench.view.view import OK, View

_FACTS = (
    ("how", "how"), ("rule", "rule"), ("kernel", "attention kernel"), ("scan_backend", "scan"),
    ("reader", "reader"), ("dtype", "dtype"), ("device", "device"),
)  # fmt: skip


def failures(view: View) -> Table:
    """Every record that is not ok, every planned measure that left none, every seed at odds."""
    measured = {(row.cell, row.measure): row.number for row in view.rows if row.status == OK}
    made = [
        {
            "cell": text(row.cell),
            "measure": text(row.measure),
            "status": Entry(value=row.status, text=row.status, tone="bad"),
            "reason": text(row.reason),
            "later": text("yes" if measured.get((row.cell, row.measure), 0) > row.number else "no"),
        }
        for row in view.failures
    ]
    made += [
        {
            "cell": text(cell),
            "measure": text(measure),
            "status": Entry(value="missing", text="missing", tone="bad"),
            "reason": text("planned, but its records are not all there"),
            "later": text("no"),
        }
        for cell, measure in view.missing
    ]
    made += [
        {
            "cell": text(row.cell),
            "measure": text(row.measure),
            "status": Entry(value=row.status, text=row.status, source=row, tone="bad"),
            "reason": text(row.reason),
            "later": text("no"),
        }
        for row in view.unequal
    ]
    headings = ("cell", "measure", "status", "reason")
    return table(
        name="failures",
        title="Failed and missing measures",
        note="A failed measure is a record with its reason; no number stands in for it.",
        columns=(
            *(Column(key=key, heading=key) for key in headings),
            Column(key="later", heading="measured later"),
        ),
        lines=made,
    )


def evidence(view: View) -> Table:
    """How each measure was made: one line for each combination of facts that occurred."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in view.rows:
        if row.status == OK:
            facts = tuple(row.evidence.get(key) for key, _ in _FACTS)
            key = (row.measure, row.kind, *facts, _counters(row))
            groups.setdefault(key, []).append(row)
    names = ("measure", "kind", *(key for key, _ in _FACTS), "counters")
    headings = ("measure", "kind", *(heading for _, heading in _FACTS), "counters that agree")
    made = [
        {
            **{name: text(value) for name, value in zip(names, key, strict=True)},
            "contestants": text(len({row.label for row in rows})),
            "records": Entry(value=len(rows), text=str(len(rows)), source=rows[0]),
        }
        for key, rows in groups.items()
    ]
    return table(
        name="evidence",
        title="Evidence",
        note="Numbers may be compared where their lines agree.",
        columns=(
            *(Column(key=k, heading=h) for k, h in zip(names, headings, strict=True)),
            Column(key="contestants", heading="contestants", numeric=True),
            Column(key="records", heading="records", numeric=True),
        ),
        lines=made,
    )


def _counters(row: Row) -> str | None:
    """The counters that a MAC record names as agreeing with each other."""
    names = row.evidence.get("agreed")
    return None if not names else " = ".join(map(str, names))
