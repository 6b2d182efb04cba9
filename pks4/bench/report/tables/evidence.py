"""The tables behind the numbers: what failed and why, and how each measure was made."""

from typing import Any

from pks4.bench.table import Column, Table, TableCell, TableRow, table, words
from pks4.bench.view.rows import Row
from pks4.bench.view.view import OK, View

_FACTS = {
    "how": "how",
    "rule": "rule",
    "kernel": "attention kernel",
    "scan_backend": "scan",
    "reader": "reader",
    "dtype": "dtype",
    "device": "device",
}


def failures(view: View) -> Table:
    """Every record that is not ok, every planned measure without one, every seed at odds."""
    last_ok = {(row.cell, row.measure): row.number for row in view.rows if row.status == OK}
    absent = "planned, but its records are not all there"
    later = [last_ok.get((row.cell, row.measure), 0) > row.number for row in view.failures]
    return table(
        name="failures",
        title="Failed and missing measures",
        note="A failed measure is a record with its reason; no number stands in for it.",
        columns=(
            *(Column(key, key) for key in ("cell", "measure", "status", "reason")),
            Column("later", "measured later"),
        ),
        rows=[
            *(
                _failure(row.cell, row.measure, row.status, row.reason, later=measured)
                for row, measured in zip(view.failures, later, strict=True)
            ),
            *(_failure(cell, name, "missing", absent) for cell, name in view.missing),
            *(_failure(row.cell, row.measure, row.status, row.reason, row) for row in view.unequal),
        ],
    )


def _failure(
    cell: str,
    measure: str,
    status: str,
    reason: str | None,
    source: Row | None = None,
    *,
    later: bool = False,
) -> TableRow:
    return {
        "cell": words(cell),
        "measure": words(measure),
        "status": TableCell(status, status, source=source, tone="bad"),
        "reason": words(reason),
        "later": words("yes" if later else "no"),
    }


def evidence(view: View) -> Table:
    """How each measure was made: one row for each combination of facts that occurred."""
    headings = {"measure": "measure", "kind": "kind", **_FACTS, "counters": "counters that agree"}
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in view.rows:
        if row.status == OK:
            facts = (row.evidence.get(key) for key in _FACTS)
            groups.setdefault((row.measure, row.kind, *facts, _counters(row)), []).append(row)
    return table(
        name="evidence",
        title="Evidence",
        note="Numbers may be compared where their lines agree.",
        columns=(
            *(Column(key, heading) for key, heading in headings.items()),
            Column("contestants", "contestants", numeric=True),
            Column("records", "records", numeric=True),
        ),
        rows=[
            {
                **{name: words(value) for name, value in zip(headings, facts, strict=True)},
                "contestants": words(len({row.label for row in rows})),
                "records": TableCell(len(rows), str(len(rows)), source=rows[0]),
            }
            for facts, rows in groups.items()
        ],
    )


def _counters(row: Row) -> str | None:
    """The counters that a MAC record names as agreeing with each other."""
    names = row.evidence.get("agreed")
    return " = ".join(map(str, names)) if names else None
